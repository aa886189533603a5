/* Given to a program by LD_PRELOAD: a disk on which a sync fails, and a clock that is wrong. */
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
    FILE *file = fopen(getenv(variable), "r");
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
    return result;
}
