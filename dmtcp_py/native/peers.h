/* What the sources of the library `peers` have in common; none of it is exported. */

#pragma once
#include <netinet/in.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

typedef struct sockaddr_in end;

struct owner {
    unsigned uid;
    unsigned long inode; /* 0: its process has closed it */
};

enum answer { FOUND, NOT_HERE, CANNOT_SAY };

/* Find the socket at THEIRS that is connected to OURS. */
enum answer find_owner(const end *theirs, const end *ours, struct owner *owner);

/* Whether a process that descends from SUPERVISOR has the socket with this INODE. */
int is_below(pid_t supervisor, unsigned long inode);

#pragma GCC visibility pop
