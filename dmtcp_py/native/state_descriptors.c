/* Open descriptors: their flags, of which DMTCP forgets some, and what the comparison after a restart needs to know of
   them; part of the plugin `state`. */

#define _GNU_SOURCE
#include <sys/socket.h>
#include <sys/stat.h>

#include "state.h"

#define MOST_FDS 4096
#define OUR_MEMORY "/memfd:dmtcp-run"
#define COMPARED (O_APPEND | O_NONBLOCK | O_DIRECT | O_SYNC | O_NOATIME)
#define UNKNOWN (-1)

static struct descriptor {
    int is_open, flags, type, closes_on_exec, is_compared;
    long position;
} known[MOST_FDS];
static struct stat streams[3];

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

static long position_of(int fd, const struct stat *found)
{
    return S_ISREG(found->st_mode) || S_ISDIR(found->st_mode) ? RAW(SYS_lseek, fd, 0, SEEK_CUR) : UNKNOWN;
}

/* Other than files, what is made anew may be open for more than it was. */
static long flags_of(int fd, const struct stat *found)
{
    return RAW(SYS_fcntl, fd, F_GETFL, 0) & (COMPARED | (S_ISREG(found->st_mode) ? O_ACCMODE : 0));
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
}

void record_descriptors(void)
{
    memset(known, 0, sizeof known);
    memset(streams, 0, sizeof streams);
    for (int i = 0; i < 3; i++)
        RAW(SYS_fstat, i, &streams[i]);
    each_entry("/proc/self/fd", record);
}

/* DMTCP opens folders again at their beginning, and a stream of one would have entries twice. */
static void put_back_place(int fd)
{
    if (known[fd].is_open && known[fd].type == S_IFDIR && known[fd].position > 0)
        RAW(SYS_lseek, fd, known[fd].position, SEEK_SET);
}

void put_back_descriptors(void)
{
    for (int fd = 0; fd < MOST_FDS; fd++) {
        put_back_place(fd);
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
    }
}
