/* Pipes that are opened by the name of a descriptor: /dev/fd/63, /dev/stdin, /proc/self/fd/0; part of the plugin `files`.

   Under DMTCP (3.2, 4.2, 5.0) a pipe is a pair of sockets, and the kernel opens no socket by a name: it fails with
   ENXIO. Shell scripts are full of such names: <( ), >( ), `cat /dev/stdin`, `tee /dev/stderr`. Opening a pipe gives
   another descriptor of the same pipe, and so does duplicating the one that the process has. */

#define _GNU_SOURCE
#include <stdlib.h>

#include "files.h"

#define MOST_DESCRIPTORS 1024

/* Return a descriptor of the process that leads to what was FOUND; -1 if there is none. */
static int descriptor_of_same(const struct stat *found)
{
    struct stat one;
    for (int fd = 0; fd < MOST_DESCRIPTORS; fd++)
        if (!raw_stat(fd, "", AT_EMPTY_PATH, &one) && one.st_dev == found->st_dev && one.st_ino == found->st_ino)
            return fd;
    return -1;
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
