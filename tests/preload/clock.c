/* Given to a program by LD_PRELOAD: a clock that jumps. It never goes back, and does not follow
   the calendar: limits of time are measured with it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    FILE *file = clock == CLOCK_MONOTONIC ? fopen(getenv("SECONDS_PASSED"), "r") : NULL;
    if (file) {
        long seconds;
        if (fscanf(file, "%ld", &seconds) == 1) time->tv_sec += seconds;
        fclose(file);
    }
    return result;
}
