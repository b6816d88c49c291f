/* What a call of the program is about to do to a file, recorded in the journal. Those that receive a `struct held` look
   first whether the call changes anything, and hold checkpoints back only if it does. */

#include <spawn.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "journal.h"

/* What a call does with a name: MAY_MAKE what has it, makes it or fails (ONLY_MAKES), or makes it or fails after
   following symbolic links (MAKES_THROUGH_LINKS). */
enum { REMOVES = 0, MAY_MAKE = 1, ONLY_MAKES = 2, MAKES_THROUGH_LINKS = 3 };

struct file_handle;

#pragma GCC visibility push(hidden)

void record_open(struct held *held, int dir, const char *path, int flags);
void record_fopen(struct held *held, const char *path, const char *mode);
void record_by_handle(struct held *held, int mount, struct file_handle *handle, int flags);
void record_spawned_open(struct held *held, const posix_spawn_file_actions_t *actions, const char *path, int flags);
void record_bound(struct held *held, const struct sockaddr *address, socklen_t size);
void release_open(const struct held *held, int fd);

void record_name(int dir, const char *path, int how);
void record_linked(int from, const char *old, int to, const char *new, int flags);
void record_moved(int from, const char *old, int to, const char *new, unsigned flags);
void record_truncated(const char *path, off_t size);

void record_keyed(struct held *held, long get, key_t key, int flags);
void record_queue(struct held *held, const char *name, int flags);

int find_file(int dir, const char *path, char *real, struct stat *found);
void hold_nothing(struct held *held);

/* --- ranges.c: what has a descriptor --- */

#define HERE ((off_t)-1) /* where the descriptor is */

void record_written(struct held *held, int fd, off_t at, size_t size);
void record_cut(struct held *held, int fd, off_t size);
void record_allocated(struct held *held, int fd, int mode, off_t from, off_t size);
void record_mapped(struct held *held, int fd, int protection, int flags, off_t at, size_t size);
size_t size_of_all(const struct iovec *parts, int count);

#pragma GCC visibility pop
