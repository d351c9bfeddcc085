/* A disk that forgets, for LD_PRELOAD. What was synced is copied to $ONDISK, so that a power cut is
 * "use those files". While the file $BAD names an ending ("-wal", ".db", "" for all), syncing such
 * a file fails with EIO and, as Linux does it, what was not written counts as written from then on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define MOST 65536
static struct { int fd; off_t at; size_t size; } pending[MOST];
static int count;

static int ends(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return ends(path, ".db") || ends(path, "-wal");
}

static int shadow(const char *path) {
    char copy[PATH_MAX];
    const char *name = strrchr(path, '/') + 1;
    snprintf(copy, sizeof copy, "%s/%s", getenv("ONDISK"), name);
    return open(copy, O_RDWR | O_CREAT, 0600);
}

static int is_bad(const char *path) {
    char end[32] = "";
    int fd = open(getenv("BAD"), O_RDONLY);
    if (fd < 0) return 0;
    ssize_t n = read(fd, end, sizeof end - 1);
    close(fd);
    end[n > 0 ? n : 0] = 0;
    return ends(path, end);
}

static ssize_t note(int fd, off_t at, ssize_t size) {
    char path[PATH_MAX];
    if (size > 0 && path_of(fd, path)) {
        if (count == MOST) abort();
        pending[count].fd = fd, pending[count].at = at, pending[count++].size = size;
    }
    return size;
}

static int settle(int fd) {
    char path[PATH_MAX], bytes[65536];
    if (!path_of(fd, path)) return 0;
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite");
    int bad = is_bad(path), copy = shadow(path), left = 0;
    for (int i = 0; i < count; i++) {
        if (pending[i].fd != fd) { pending[left++] = pending[i]; continue; }
        for (size_t done = 0; !bad && done < pending[i].size;) {
            size_t want = pending[i].size - done < sizeof bytes ? pending[i].size - done : sizeof bytes;
            ssize_t n = pread(fd, bytes, want, pending[i].at + done);
            if (n <= 0) break;
            real(copy, bytes, n, pending[i].at + done);
            done += n;
        }
    }
    count = left;
    close(copy);
    return bad;
}

#define WRITES(name, type) \
    ssize_t name(int fd, const void *data, size_t size, type at) { \
        static ssize_t (*real)(int, const void *, size_t, type); \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        return note(fd, at, real(fd, data, size, at)); \
    }
WRITES(pwrite, off_t)
WRITES(pwrite64, off64_t)

#define SYNCS(name) \
    int name(int fd) { \
        static int (*real)(int); \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        if (settle(fd)) { errno = EIO; return -1; } \
        return real(fd); \
    }
SYNCS(fsync)
SYNCS(fdatasync)

#define CUTS(name, type) \
    int name(int fd, type size) { \
        static int (*real)(int, type); \
        char path[PATH_MAX]; \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        int answer = real(fd, size); \
        if (!answer && path_of(fd, path)) { int copy = shadow(path); (void)!real(copy, size); close(copy); } \
        return answer; \
    }
CUTS(ftruncate, off_t)
CUTS(ftruncate64, off64_t)

int unlink(const char *path) {
    static int (*real)(const char *);
    if (!real) real = dlsym(RTLD_NEXT, "unlink");
    if (ends(path, "-wal")) {
        char copy[PATH_MAX];
        snprintf(copy, sizeof copy, "%s/%s", getenv("ONDISK"), strrchr(path, '/') + 1);
        real(copy);
    }
    return real(path);
}
