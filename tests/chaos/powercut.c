/* A disk that can be told to fail: preloaded into a daemon (LD_PRELOAD), switched from outside.
 *
 * For every file whose path begins with CHAOS_DISK_FILES a shadow of the same name is kept in the
 * folder CHAOS_DISK_SHADOWS: its content as the last successful fsync or fdatasync left it. Killing
 * the process and putting the shadows in the files' place is a power cut, at any instant.
 *
 * A sync that fails forgets what was to be written, as Linux does: those pages count as clean from
 * then on, and no later sync brings them to the disk unless they are written again.
 *
 * CHAOS_DISK_SWITCHES is a file that both sides map: see struct switches.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct switches {
    int32_t sync_error;   /* errno of every sync, 0 = it works */
    int32_t sync_lies;    /* 1: a sync says it worked and keeps nothing */
    int32_t growth_error; /* errno of every write beyond a file's end, 0 = it works */
    int32_t unused;
    int64_t syncs;        /* how many worked */
    int64_t failures;     /* how many syncs and writes failed or lied */
};

struct range { off_t begin, end; };

struct file {
    dev_t dev;
    ino_t ino;
    int live, shadow; /* descriptors of our own; closing one would drop SQLite's locks on the file */
    struct range *dirty;
    size_t count, room;
    struct file *next;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static struct switches *switches;
static struct file *files;
static const char *prefix, *shadows;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);

__attribute__((constructor)) static void begin(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    const char *path = getenv("CHAOS_DISK_SWITCHES");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *page = mmap(NULL, sizeof *switches, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED)
        abort();
    /* copies: who changes its title writes over its environment */
    prefix = strdup(getenv("CHAOS_DISK_FILES"));
    shadows = strdup(getenv("CHAOS_DISK_SHADOWS"));
    switches = page;
}

static void copy(int from, int to, off_t begin, off_t end) {
    char buffer[65536];
    while (begin < end) {
        size_t want = (size_t)(end - begin) < sizeof buffer ? (size_t)(end - begin) : sizeof buffer;
        ssize_t got = pread(from, buffer, want, begin);
        if (got <= 0)
            return; /* truncated meanwhile: the size says so */
        if (real_pwrite(to, buffer, (size_t)got, begin) != got)
            abort();
        begin += got;
    }
}

static off_t size_of(int fd) {
    struct stat about;
    return fstat(fd, &about) ? 0 : about.st_size;
}

static int shadow_of(const char *path, char *into) {
    return snprintf(into, PATH_MAX, "%s/%s", shadows, strrchr(path, '/') + 1) < PATH_MAX;
}

/* The file behind fd when it is one of ours, seen for the first time or not. Call it under `turn`
 * and before the first change: what stands in the file then is taken for durable. */
static struct file *tracked(int fd) {
    struct stat about;
    if (!switches || fstat(fd, &about) || !S_ISREG(about.st_mode))
        return NULL;
    for (struct file *file = files; file; file = file->next)
        if (file->dev == about.st_dev && file->ino == about.st_ino)
            return file;
    char link[64], path[PATH_MAX], shadow[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return NULL;
    path[length] = 0;
    if (strncmp(path, prefix, strlen(prefix)) || !shadow_of(path, shadow))
        return NULL;
    struct file *file = calloc(1, sizeof *file);
    if (!file)
        abort();
    file->dev = about.st_dev;
    file->ino = about.st_ino;
    file->live = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    file->shadow = open(shadow, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file->live < 0 || file->shadow < 0)
        abort();
    copy(file->live, file->shadow, 0, about.st_size);
    file->next = files;
    files = file;
    return file;
}

static void soil(struct file *file, off_t begin, off_t end) {
    struct range *last = file->count ? &file->dirty[file->count - 1] : NULL;
    if (last && last->end == begin) {
        last->end = end;
        return;
    }
    if (file->count == file->room) {
        file->room = file->room ? file->room * 2 : 256;
        file->dirty = realloc(file->dirty, file->room * sizeof *file->dirty);
        if (!file->dirty)
            abort();
    }
    file->dirty[file->count++] = (struct range){begin, end};
}

/* Whether a write up to `end` is refused; errno then says why. */
static int is_full(int fd, off_t end) {
    if (!switches->growth_error || end <= size_of(fd))
        return 0;
    switches->failures++;
    errno = switches->growth_error;
    return 1;
}

static ssize_t write_at(int fd, const void *data, size_t length, off_t at) {
    pthread_mutex_lock(&turn);
    struct file *file = tracked(fd);
    ssize_t done = file && is_full(fd, at + (off_t)length) ? -1 : real_pwrite(fd, data, length, at);
    if (file && done > 0)
        soil(file, at, at + done);
    int error = errno;
    pthread_mutex_unlock(&turn);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return write_at(fd, data, length, at); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t at) { return write_at(fd, data, length, at); }

ssize_t write(int fd, const void *data, size_t length) {
    pthread_mutex_lock(&turn);
    struct file *file = tracked(fd);
    pthread_mutex_unlock(&turn); /* a pipe may block, and it is none of ours */
    if (!file)
        return real_write(fd, data, length);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = write_at(fd, data, length, at);
    if (done > 0)
        lseek(fd, at + done, SEEK_SET);
    return done;
}

static int resize(int fd, off_t size) {
    pthread_mutex_lock(&turn);
    struct file *file = tracked(fd);
    int failed = file && is_full(fd, size) ? -1 : real_ftruncate(fd, size);
    if (file && !failed)
        soil(file, size, size);
    int error = errno;
    pthread_mutex_unlock(&turn);
    errno = error;
    return failed;
}

int ftruncate(int fd, off_t size) { return resize(fd, size); }
int ftruncate64(int fd, off_t size) { return resize(fd, size); }

static int keep(struct file *file) {
    if (switches->sync_error || switches->sync_lies) {
        file->count = 0;
        switches->failures++;
        errno = switches->sync_error;
        return switches->sync_error ? -1 : 0;
    }
    for (size_t i = 0; i < file->count; i++)
        copy(file->live, file->shadow, file->dirty[i].begin, file->dirty[i].end);
    if (file->count && real_ftruncate(file->shadow, size_of(file->live)))
        abort();
    file->count = 0;
    switches->syncs++;
    return 0;
}

static int sync_with(int fd, int (*real)(int)) {
    pthread_mutex_lock(&turn);
    struct file *file = tracked(fd);
    int failed = file ? keep(file) : 0;
    int error = errno;
    pthread_mutex_unlock(&turn);
    errno = error;
    return file ? failed : real(fd);
}

int fsync(int fd) { return sync_with(fd, real_fsync); }
int fdatasync(int fd) { return sync_with(fd, real_fdatasync); }

int unlink(const char *path) {
    struct stat about;
    char shadow[PATH_MAX];
    pthread_mutex_lock(&turn);
    if (switches && !stat(path, &about))
        for (struct file **link = &files; *link; link = &(*link)->next)
            if ((*link)->dev == about.st_dev && (*link)->ino == about.st_ino) {
                if (shadow_of(path, shadow))
                    real_unlink(shadow);
                *link = (*link)->next; /* its inode may come back as another file's */
                break;
            }
    pthread_mutex_unlock(&turn);
    return real_unlink(path);
}
