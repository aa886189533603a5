/* Given to a program by LD_PRELOAD: a disk on which a sync fails or is slow, and a clock that is
   wrong, or of no use to one thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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

/* The sync has been done, and yet it fails with this error, once. Those that do not fail take
   so many milliseconds more. The file that FOLDER_SYNCS names gets a byte for each folder that was synced. */
static int synced(int fd, int result) {
    struct stat is;
    const char *folders = getenv("FOLDER_SYNCS");
    if (folders && !fstat(fd, &is) && S_ISDIR(is.st_mode)) {
        FILE *file = fopen(folders, "a");
        if (!file || fputc('x', file) == EOF || fclose(file)) abort();
    }
    int error = number("FAIL_SYNC");
    if (!error) {
        for (long waited = 0; waited < number("SLOW_SYNC"); waited += 10) usleep(10 * 1000);
        return result;
    }
    unlink(getenv("FAIL_SYNC"));
    errno = error;
    return -1;
}

int fsync(int fd) { return synced(fd, syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { return synced(fd, syscall(SYS_fdatasync, fd)); }

int clock_gettime(clockid_t clock, struct timespec *time) {
    char name[16] = "";
    if (clock == CLOCK_REALTIME && number("STOP_WRITER") && !prctl(PR_GET_NAME, name)
        && !strcmp(name, "writer")) {
        errno = EINVAL; /* Rust panics */
        return -1;
    }
    int result = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME) time->tv_sec += number("CLOCK_AHEAD");
    return result;
}
