/* Pipes that are opened by the name of a descriptor: /dev/fd/63, /dev/stdin, /proc/self/fd/0; part of the plugin `files`.

   Under DMTCP (3.2, 4.2, 5.0) a pipe is a pair of sockets, and the kernel opens no socket by a name: it fails with
   ENXIO. Shell scripts are full of such names: <( ), >( ), `cat /dev/stdin`, `tee /dev/stderr`. Opening a pipe gives
   another descriptor of the same pipe, and so does duplicating the one that the process has.

   A stream that dmtcp-run passes on stays a pipe, which the kernel does open. But DMTCP takes the new descriptor for one
   of a named pipe, and opens it for reading and writing at a restart: then its reader never sees the end. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "files.h"

#define MOST_DESCRIPTORS 1024

static int is_same(int fd, const struct stat *found)
{
    struct stat one;
    return !raw_stat(fd, "", AT_EMPTY_PATH, &one) && one.st_dev == found->st_dev && one.st_ino == found->st_ino;
}

static int access_of(int fd)
{
    return (int)RAW(SYS_fcntl, fd, F_GETFL, 0) & O_ACCMODE;
}

/* Return a descriptor of the process that leads to what was FOUND; -1 if there is none. */
static int descriptor_of_same(const struct stat *found)
{
    for (int fd = 0; fd < MOST_DESCRIPTORS; fd++)
        if (is_same(fd, found))
            return fd;
    return -1;
}

/* Make FD, which opening PATH gave, a duplicate of the stream that leads to the same pipe, if there is one. */
void share_stream(const char *path, int fd)
{
    struct stat found;
    if (!dmtcp_dlsym || fd <= STDERR_FILENO || !path || (strncmp(path, "/dev/", 5) && strncmp(path, "/proc/", 6)))
        return;
    if (raw_stat(fd, "", AT_EMPTY_PATH, &found) || !S_ISFIFO(found.st_mode))
        return;
    for (int stream = 0; stream <= STDERR_FILENO; stream++)
        if (is_same(stream, &found) && access_of(stream) == access_of(fd)) {
            dup3(stream, fd, RAW(SYS_fcntl, fd, F_GETFD, 0) & FD_CLOEXEC ? O_CLOEXEC : 0); /* DMTCP's */
            return;
        }
}

/* Return what opening PATH with FLAGS gives, after the kernel has refused it: it sets errno if it fails too. */
int open_pipe_again(const char *path, int flags)
{
    struct stat found;
    int fd = -1;
    if (dmtcp_dlsym && path && !raw_stat(AT_FDCWD, path, 0, &found) && S_ISSOCK(found.st_mode))
        fd = descriptor_of_same(&found);
    if (fd < 0) {
        errno = ENXIO;
        return -1;
    }
    return fcntl(fd, flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0); /* DMTCP's, which has to know it */
}

/* The same for fopen() with MODE. */
FILE *open_pipe_stream_again(const char *path, const char *mode)
{
    int fd = open_pipe_again(path, 0);
    FILE *file = fd < 0 ? NULL : fdopen(fd, mode);
    if (fd >= 0 && !file)
        close(fd);
    return file;
}
