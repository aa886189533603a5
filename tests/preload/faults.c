/* Given to a program by LD_PRELOAD: a disk on which a sync fails, clocks that are wrong, and
   a sleep that does not last. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* What stands in the file that this variable names: a number, or 0 if there is no file. */
static long number(const char *variable) {
    long number = 0;
    const char *name = getenv(variable);
    FILE *file = name ? fopen(name, "r") : NULL;
    if (file) {
        if (fscanf(file, "%ld", &number) != 1) abort();
        fclose(file);
    }
    return number;
}

/* The sync has been done, and yet it fails with this error, once. */
static int synced(int result) {
    int error = number("FAIL_SYNC");
    if (!error) return result;
    unlink(getenv("FAIL_SYNC"));
    errno = error;
    return -1;
}

int fsync(int fd) { return synced(syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { return synced(syscall(SYS_fdatasync, fd)); }

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME) time->tv_sec += number("CLOCK_AHEAD");
    if (clock == CLOCK_MONOTONIC) time->tv_sec += number("MONOTONIC_AHEAD");
    return result;
}

int nanosleep(const struct timespec *time, struct timespec *left) {
    return number("NO_SLEEP") ? 0 : syscall(SYS_nanosleep, time, left);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left) {
    if (number("NO_SLEEP")) return 0;
    return syscall(SYS_clock_nanosleep, clock, flags, time, left) ? errno : 0;
}
