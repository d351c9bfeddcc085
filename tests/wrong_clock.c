/* A wall clock that can be set, for LD_PRELOAD: to all others' clocks the seconds are added that stand
 * in the file $SKEW as one 64-bit number. Time since boot goes on as it is, as it does on a machine. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t skew(void) {
    static volatile int64_t *seconds;
    if (!seconds) {
        int fd = open(getenv("SKEW"), O_RDONLY | O_CLOEXEC);
        void *page = fd < 0 ? MAP_FAILED : mmap(0, sizeof *seconds, PROT_READ, MAP_SHARED, fd, 0);
        if (page == MAP_FAILED) abort();
        close(fd);
        seconds = page;
    }
    return *seconds;
}

int clock_gettime(clockid_t id, struct timespec *moment) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(id, moment);
    if (!answer && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) moment->tv_sec += skew();
    return answer;
}

int gettimeofday(struct timeval *moment, void *zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    moment->tv_sec = now.tv_sec, moment->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *moment) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (moment) *moment = now.tv_sec;
    return now.tv_sec;
}
