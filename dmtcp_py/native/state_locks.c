/* Locks on files, which DMTCP's images do not contain: read before the image, and taken again after the restart; part of
   the plugin `state`.

   All processes wait for each other before a thread of the program runs: one that runs earlier could take a lock that
   another one had. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "state.h"

#define MOST_LOCKS 256
#define LOCK_TRIES 3000
#define PAUSE_NS 1000000

extern void dmtcp_global_barrier(const char *name) __attribute__((weak));

enum kind { WHOLE, OF_PROCESS, OF_DESCRIPTION }; /* flock(), fcntl(F_SETLK), fcntl(F_OFD_SETLK) */

static struct file_lock {
    int fd, is_shared;
    enum kind kind;
    long start, end; /* -1: to the end of the file */
} locks[MOST_LOCKS], former_locks[MOST_LOCKS];
static int lock_count;
static char text[4096]; /* of one descriptor at a time: DMTCP's own thread alone comes here */

static int kind_of(const char *text)
{
    static const char *const names[] = { "FLOCK", "POSIX", "OFDLCK" };
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, names[i]))
            return i;
    return -1;
}

static void read_locks_of(int fd)
{
    char path[48], name[16], way[16], last[24];
    struct stat found;
    if (RAW(SYS_fstat, fd, &found) < 0 || !S_ISREG(found.st_mode))
        return;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = raw_open(path, O_RDONLY, 0);
    long size = info < 0 ? 0 : RAW(SYS_read, info, text, sizeof text - 1);
    if (info >= 0)
        RAW(SYS_close, info);
    text[size > 0 ? size : 0] = 0;
    for (char *at = text; (at = strstr(at, "lock:\t")) && lock_count < MOST_LOCKS; at++) {
        struct file_lock *one = &locks[lock_count];
        if (sscanf(at, "lock:\t%*d: %15s %*s %15s %*d %*s %ld %23s", name, way, &one->start, last) != 4)
            continue;
        int kind = kind_of(name);
        one->fd = fd;
        one->kind = (enum kind)kind;
        one->is_shared = !strcmp(way, "READ");
        one->end = strcmp(last, "EOF") ? atol(last) : -1;
        lock_count += kind >= 0;
    }
}

/* Remember the locks that this process holds. */
void record_locks(void)
{
    lock_count = 0;
    memset(locks, 0, sizeof locks);
    each_entry("/proc/self/fd", read_locks_of);
}

void check_locks(void)
{
    int count = lock_count;
    memcpy(former_locks, locks, sizeof locks);
    record_locks();
    check("number of file locks", -1, count, lock_count);
    for (int i = 0; i < count && count == lock_count; i++)
        check("file lock of descriptor", locks[i].fd, 0, memcmp(&former_locks[i], &locks[i], sizeof locks[i]) != 0);
}

static long try_lock(const struct file_lock *one)
{
    struct flock range = { 0 };
    if (one->kind == WHOLE)
        return RAW(SYS_flock, one->fd, (one->is_shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
    range.l_type = one->is_shared ? F_RDLCK : F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = one->start;
    range.l_len = one->end < 0 ? 0 : one->end - one->start + 1;
    return RAW(SYS_fcntl, one->fd, one->kind == OF_PROCESS ? F_SETLK : F_OFD_SETLK, &range);
}

/* Take all of them again. A process that is about to die may still hold one; one that holds it for seconds keeps it. */
void put_back_locks(void)
{
    struct timespec pause = { 0, PAUSE_NS };
    for (int i = 0; i < lock_count; i++)
        for (int times = 0; times < LOCK_TRIES && try_lock(&locks[i]) < 0; times++)
            RAW(SYS_nanosleep, &pause, NULL);
    if (dmtcp_global_barrier)
        dmtcp_global_barrier("dmtcp-run: state");
}
