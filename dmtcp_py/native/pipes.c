/* Pipes of the program that stay pipes; part of the plugin `shared`.

   DMTCP (3.2, 4.2, 5.0) makes a pair of sockets of each pipe. A script sees that: a socket cannot be opened by the name of its
   descriptor (/dev/fd/63, /dev/stdin), `[ -p /dev/stdin ]` is false, F_SETPIPE_SZ fails, and less or more fits into it.
   DMTCP also loses what is in a pipe whose other end is closed, for all but one of the processes that can read it.

   With this plugin pipe() makes a pipe, which DMTCP does not know. Before the images, one of its processes reads what is
   in a pipe, and writes it back; after a restart, that process makes a new pipe with the same content, and the others
   open it (pipe_ends.c). So also pipes are kept that were not made by a call that DMTCP sees. */

#define _GNU_SOURCE
#include <gnu/lib-names.h>
#include <string.h>

#include "files.h"
#include "shared.h"

#define PIPE_LINK "pipe:["

void dmtcp_initialize_entry_point(void) __attribute__((weak));

int are_pipes_kept;

int is_fifo(int fd, struct stat *found)
{
    return !raw_stat(fd, "", AT_EMPTY_PATH, found) && S_ISFIFO(found->st_mode);
}

int is_pipe(int fd, struct stat *found)
{
    char path[LINK_LENGTH], link[LINK_LENGTH];
    if (!is_fifo(fd, found))
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return raw_link_text(path, link, sizeof link) > 0 && !strncmp(link, PIPE_LINK, strlen(PIPE_LINK));
}

/* Have DMTCP forget a pipe that was opened by the name of a descriptor, which it treats as a FIFO with a name. It does
   when a descriptor that it does not know takes the place of one that it knows. */
void forget_opened_pipe(int event, void *data)
{
    struct stat found;
    if (event != FILE_IS_OPEN || !is_pipe(*(int *)data, &found))
        return;
    int fd = *(int *)data, saved = errno;
    int flags = (int)RAW(SYS_fcntl, fd, F_GETFD);
    int unknown = (int)RAW(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
    if (unknown >= 0)
        dup3(unknown, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
    raw_close(unknown);
    errno = saved;
}

/* Return the C library's pipe2(): a system call by its number would come back here. */
static __typeof__(pipe2) *kernels(void)
{
    static __typeof__(pipe2) *found;
    if (!found)
        found = (__typeof__(pipe2) *)dlsym(dlopen(LIBC_SO, RTLD_LAZY | RTLD_NOLOAD), "pipe2");
    return found;
}

int keeps_pipes(void)
{
    if (!are_pipes_kept && dmtcp_initialize_entry_point)
        dmtcp_initialize_entry_point();
    return are_pipes_kept;
}

int pipe2(int fds[2], int flags)
{
    FIND(pipe2);
    return keeps_pipes() ? kernels()(fds, flags) : next(fds, flags);
}

int pipe(int fds[2])
{
    return pipe2(fds, 0);
}
