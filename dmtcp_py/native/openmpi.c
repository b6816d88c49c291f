/* What Open MPI needs under DMTCP (3.2, 4.2, 5.0) and does not get; loaded into it as a plugin.

   mpirun gives each of its processes a pseudo-terminal as standard output, by the C library's openpty(), which DMTCP
   does not see: after a restart mpirun's ends of them are gone, and the processes write to whatever the standard output
   of the restart is. Of one that it sees it loses what was written and not yet read. Where Open MPI gets no
   pseudo-terminal it takes a pipe, which DMTCP carries over with all that is in it.

   What the C library wrote to a terminal came out by the line, and so it does here. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

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
