/* Locks on files, which DMTCP's images do not contain: read before the image, and taken again after the restart, before
   a thread of the program runs; part of the plugin `files`. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "files.h"

#define MOST_LOCKS 64
#define MOST_LOCKED_FD 1024
#define LOCK_TRIES 3000
#define PAUSE_NS 1000000

static struct file_lock {
    int fd, is_whole, is_shared; /* the whole file by flock(), or a range by fcntl() */
    long start, end;             /* -1: to the end of the file */
} locks[MOST_LOCKS];
static int lock_count;
static char text[4096]; /* of one descriptor at a time: DMTCP's own thread alone comes here */

static void read_locks_of(int fd)
{
    char path[48], kind[16], way[16], last[24];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = raw_open(path, O_RDONLY, 0);
    long size = info < 0 ? 0 : RAW(SYS_read, info, text, sizeof text - 1);
    raw_close(info);
    text[size > 0 ? size : 0] = 0;
    for (char *at = text; (at = strstr(at, "lock:\t")) && lock_count < MOST_LOCKS; at++) {
        struct file_lock *one = &locks[lock_count];
        if (sscanf(at, "lock:\t%*d: %15s %*s %15s %*d %*s %ld %23s", kind, way, &one->start, last) != 4)
            continue;
        one->fd = fd;
        one->is_whole = !strcmp(kind, "FLOCK");
        one->is_shared = !strcmp(way, "READ");
        one->end = strcmp(last, "EOF") ? atol(last) : -1;
        if (one->is_whole || !strcmp(kind, "POSIX"))
            lock_count++;
    }
}

/* Remember the locks that this process holds. */
void read_file_locks(void)
{
    struct stat found;
    lock_count = 0;
    for (int fd = 0; fd < MOST_LOCKED_FD; fd++)
        if (!raw_stat(fd, "", AT_EMPTY_PATH, &found) && S_ISREG(found.st_mode))
            read_locks_of(fd);
}

static long try_lock(const struct file_lock *one)
{
    struct flock range = { 0 };
    if (one->is_whole)
        return RAW(SYS_flock, one->fd, (one->is_shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
    range.l_type = one->is_shared ? F_RDLCK : F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = one->start;
    range.l_len = one->end < 0 ? 0 : one->end - one->start + 1;
    return RAW(SYS_fcntl, one->fd, F_SETLK, &range);
}

/* Take all of them again. A process that is about to die may still hold one; one that holds it for seconds keeps it. */
void take_file_locks(void)
{
    struct timespec pause = { 0, PAUSE_NS };
    for (int i = 0; i < lock_count; i++)
        for (int times = 0; times < LOCK_TRIES && try_lock(&locks[i]); times++)
            RAW(SYS_nanosleep, &pause, NULL);
}
