/* Open descriptors: their flags, of which DMTCP forgets some, and what the comparison after a restart needs to know of
   them; part of the plugin `state`. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/socket.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "state.h"

#define MOST_FDS 4096
#define OUR_MEMORY "/memfd:dmtcp-run"
#define COMPARED (O_APPEND | O_NONBLOCK | O_DIRECT | O_SYNC | O_NOATIME)
#define UNKNOWN (-1)
#define OWN_LENGTH 40
#define PATH_LENGTH 80

static struct descriptor {
    int is_open, flags, type, closes_on_exec, is_compared;
    long position;
    char own_file[OWN_LENGTH]; /* of this process, below its folder in /proc */
} known[MOST_FDS];
static struct stat streams[3];
enum { DONE, DUE, BEING_OPENED };
static int own_files;

static int is_stream(const struct stat *found)
{
    for (int i = 0; i < 3; i++)
        if (streams[i].st_dev == found->st_dev && streams[i].st_ino == found->st_ino)
            return 1;
    return 0;
}

/* Whether DMTCP closes it by itself, as the C library's connection to syslog, or it is ours. */
static int may_vanish(int fd)
{
    char path[48], link[sizeof OUR_MEMORY];
    int domain = 0, type = 0;
    unsigned size = sizeof domain;
    RAW(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    RAW(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    long length = RAW(SYS_readlinkat, AT_FDCWD, path, link, sizeof link - 1);
    return (domain == AF_UNIX && type == SOCK_DGRAM) ||
           (length == sizeof link - 1 && !memcmp(link, OUR_MEMORY, sizeof link - 1));
}

/* What a file in /proc contains is made anew in each life, and so is where its lines begin. */
static int is_in_proc(int fd)
{
    struct statfs system;
    return RAW(SYS_fstatfs, fd, &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

static long position_of(int fd, const struct stat *found)
{
    if (is_in_proc(fd))
        return UNKNOWN;
    return S_ISREG(found->st_mode) || S_ISDIR(found->st_mode) ? RAW(SYS_lseek, fd, 0, SEEK_CUR) : UNKNOWN;
}

/* Other than files, what is made anew may be open for more than it was. */
static long flags_of(int fd, const struct stat *found)
{
    return RAW(SYS_fcntl, fd, F_GETFL, 0) & (COMPARED | (S_ISREG(found->st_mode) ? O_ACCMODE : 0));
}

/* Remember the name of the file of this process in /proc that FD is. */
static void record_own(int fd)
{
    char link[48], path[PATH_LENGTH], *rest;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (!is_in_proc(fd) || raw_link_text(link, path, sizeof path) <= 0 || strncmp(path, "/proc/", 6) != 0)
        return;
    if (strtol(path + 6, &rest, 10) == RAW(SYS_getpid) && *rest == '/' && strlen(rest) < OWN_LENGTH)
        strcpy(known[fd].own_file, rest);
}

static void record(int fd)
{
    struct stat found;
    if (fd >= MOST_FDS || fd == folder_being_read || RAW(SYS_fstat, fd, &found) < 0 || (dmtcp_is_protected_fd && dmtcp_is_protected_fd(fd)))
        return;
    long on_exec = RAW(SYS_fcntl, fd, F_GETFD, 0);
    known[fd] = (struct descriptor){ .is_open = 1,
                                     .flags = (int)flags_of(fd, &found),
                                     .type = (int)(found.st_mode & S_IFMT),
                                     .closes_on_exec = (int)on_exec & FD_CLOEXEC,
                                     .is_compared = fd > 2 && !is_stream(&found) && !may_vanish(fd),
                                     .position = position_of(fd, &found) };
    record_own(fd);
    if (S_ISSOCK(found.st_mode)) {
        record_listener(fd);
        record_socket(fd);
    }
}

void record_descriptors(void)
{
    own_files = DONE;
    memset(known, 0, sizeof known);
    memset(streams, 0, sizeof streams);
    forget_listeners();
    forget_sockets();
    for (int i = 0; i < 3; i++)
        RAW(SYS_fstat, i, &streams[i]);
    each_entry("/proc/self/fd", record);
}

/* Whether it is a stream of this life whose file ends before the place, as one that the shell's > emptied: what comes
   next would follow upon a hole. */
static int was_emptied(int fd)
{
    struct stat found, stream;
    if (RAW(SYS_fstat, fd, &found) < 0 || !S_ISREG(found.st_mode) || found.st_size >= known[fd].position)
        return 0;
    for (int i = 1; i < 3; i++)
        if (RAW(SYS_fstat, i, &stream) == 0 && stream.st_dev == found.st_dev && stream.st_ino == found.st_ino)
            return 1;
    return 0;
}

/* DMTCP opens folders again at their beginning, where a stream of one would have entries twice, and leaves a file there
   if the program was beyond its end. */
static void put_back_place(int fd)
{
    if (known[fd].is_open && known[fd].position > 0 && !was_emptied(fd))
        RAW(SYS_lseek, fd, known[fd].position, SEEK_SET);
}

/* Whether DMTCP opened FD again below another process's folder in /proc, as it does of one that processes share. */
static int is_anothers(int fd)
{
    char link[48], path[PATH_LENGTH], is[PATH_LENGTH];
    if (!known[fd].own_file[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    snprintf(path, sizeof path, "/proc/%d%s", (int)RAW(SYS_getpid), known[fd].own_file);
    return raw_link_text(link, is, sizeof is) > 0 && strcmp(is, path) != 0;
}

/* Through DMTCP, which has to know that it is shared no more: otherwise two processes would pass it on at the next
   restart, and one that waits for several would take it twice and go on without another. */
static void open_own(int fd)
{
    char path[PATH_LENGTH];
    snprintf(path, sizeof path, "/proc/self%s", known[fd].own_file);
    int own = open(path, (int)RAW(SYS_fcntl, fd, F_GETFL, 0));
    if (own < 0)
        return;
    RAW(SYS_lseek, own, RAW(SYS_lseek, fd, 0, SEEK_CUR), SEEK_SET);
    dup2(own, fd);
    close(own);
    RAW(SYS_fcntl, fd, F_SETFD, known[fd].closes_on_exec);
}

/* In each thread of the program that goes on after a restart; none does before the first one has done it. */
void open_own_descriptors(void)
{
    int expected = DUE;
    if (__atomic_compare_exchange_n(&own_files, &expected, BEING_OPENED, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        for (int fd = 0; fd < MOST_FDS; fd++)
            if (is_anothers(fd))
                open_own(fd);
        __atomic_store_n(&own_files, DONE, __ATOMIC_RELEASE);
    }
    while (__atomic_load_n(&own_files, __ATOMIC_ACQUIRE) == BEING_OPENED)
        RAW(SYS_sched_yield);
}

void put_back_descriptors(void)
{
    put_back_sockets();
    for (int fd = 0; fd < MOST_FDS; fd++) {
        put_back_place(fd);
        own_files = is_anothers(fd) ? DUE : own_files;
        put_back_listener(fd);
        if (known[fd].is_open && RAW(SYS_fcntl, fd, F_GETFD, 0) == (known[fd].closes_on_exec ^ FD_CLOEXEC))
            RAW(SYS_fcntl, fd, F_SETFD, known[fd].closes_on_exec);
    }
}

void check_descriptors(void)
{
    struct stat found;
    for (int fd = 0; fd < MOST_FDS; fd++) {
        const struct descriptor *was = &known[fd];
        if (!was->is_open || !was->is_compared)
            continue;
        if (RAW(SYS_fstat, fd, &found) < 0) {
            differs("open descriptor", fd, 1, 0);
            continue;
        }
        check("type of descriptor", fd, was->type, (long)(found.st_mode & S_IFMT));
        check("flags of descriptor", fd, was->flags, flags_of(fd, &found));
        check("close-on-exec of descriptor", fd, was->closes_on_exec, RAW(SYS_fcntl, fd, F_GETFD, 0) & FD_CLOEXEC);
        check("position of descriptor", fd, was->position, position_of(fd, &found));
        check_listener(fd);
    }
    check_sockets();
}
