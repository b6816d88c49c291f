/* What Open MPI needs under DMTCP (3.2, 4.2, 5.0) and does not get; loaded into it as a plugin.

   mpirun makes a pseudo-terminal the standard output of each process, by the C library's openpty(), which DMTCP does
   not see: after a restart mpirun's ends are gone, and the processes write to the standard output of the restart. Of a
   pseudo-terminal that DMTCP does see, it loses what was written and not yet read. If Open MPI gets no pseudo-terminal
   it uses a pipe, which DMTCP restores with its content.

   The C library writes to a terminal line by line, and here also to the pipe.

   A checkpoint within MPI_Init ends the job after a restart, with a status of its own. While a process is in MPI_Init
   it has a file in memory with the name of STARTING, which is seen from outside (engine/dmtcp/obstacles.py). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STARTING "dmtcp-run: MPI_Init"

int opal_openpty(int *parent, int *child, char *name, const void *attributes, const void *size);

int opal_openpty(int *parent, int *child, char *name, const void *attributes, const void *size)
{
    (void)parent, (void)child, (void)name, (void)attributes, (void)size;
    return -1;
}

__attribute__((constructor)) static void write_by_the_line(void)
{
    struct stat found;
    if (getenv("OMPI_COMM_WORLD_RANK") && !fstat(1, &found) && (S_ISFIFO(found.st_mode) || S_ISSOCK(found.st_mode)))
        setvbuf(stdout, NULL, _IOLBF, 0);
}

/* Whether FD is still the file in memory: after a restart its number may be another file's. */
static bool is_starting(int fd)
{
    char link[32], name[64] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return syscall(SYS_readlinkat, -100, link, name, sizeof name - 1) > 0 && strstr(name, STARTING);
}

int ompi_mpi_init(int argc, char **argv, int requested, int *provided, bool again);

int ompi_mpi_init(int argc, char **argv, int requested, int *provided, bool again)
{
    Dl_info caller;
    bool is_known = dladdr(__builtin_return_address(0), &caller);
    void *library = is_known ? dlopen(caller.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    int (*next)(int, char **, int, int *, bool) = dlsym(library ? library : RTLD_NEXT, "ompi_mpi_init");
    int fd = (int)syscall(SYS_memfd_create, STARTING, 1); /* closed by an exec */
    int failed = next(argc, argv, requested, provided, again);
    if (fd >= 0 && is_starting(fd))
        syscall(SYS_close, fd);
    return failed;
}
