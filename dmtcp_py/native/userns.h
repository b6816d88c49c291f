/* The parts of the library for criu in a user namespace: see userns.c. */

#ifndef USERNS_H
#define USERNS_H

#include <limits.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/* A line of /proc/PID/maps. */
struct mapping {
    unsigned long start, end, offset, inode;
    dev_t device;
    char is_shared;
    char path[PATH_MAX + 16];
};

/* The calls of the C library that come after ours. */
int next_openat(int folder, const char *path, int flags, mode_t mode);

/* Look up the mapping of process PID that begins at START; return 0, or -1 if there is none. */
int find_mapping(const char *pid, unsigned long start, struct mapping *found);

/* Return a descriptor of the file that is mapped there, opened with FLAGS; -1 if there is no way to it. */
int open_mapped(const char *pid, const struct mapping *wanted, int flags);

/* Whether it is the ring of the kernel's asynchronous I/O, which criu knows by the error of opening it. */
int is_aio_ring(const struct mapping *mapping);

#pragma GCC visibility pop

#endif
