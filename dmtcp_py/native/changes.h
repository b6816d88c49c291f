/* What a call of the program is about to do to a file, recorded in the journal. Those that receive a `struct held` look
   first whether the call changes anything, and hold checkpoints back only if it does. */

#include <sys/socket.h>
#include <sys/types.h>

#include "journal.h"

/* What a call does with a name: MAY_MAKE what has it, makes it or fails (ONLY_MAKES), or makes it or fails after
   following symbolic links (MAKES_THROUGH_LINKS). */
enum { REMOVES = 0, MAY_MAKE = 1, ONLY_MAKES = 2, MAKES_THROUGH_LINKS = 3 };

#pragma GCC visibility push(hidden)

void record_open(struct held *held, int dir, const char *path, int flags);
void record_fopen(struct held *held, const char *path, const char *mode);
void record_spawned_open(struct held *held, const char *path, int flags);
void record_bound(struct held *held, const struct sockaddr *address, socklen_t size);
void release_open(const struct held *held, int fd);

void record_name(int dir, const char *path, int how);
void record_moved(int from, const char *old, int to, const char *new, unsigned flags);
void record_truncated(const char *path);
void record_cut(int fd);
void record_allocated(int fd, int mode);

#pragma GCC visibility pop
