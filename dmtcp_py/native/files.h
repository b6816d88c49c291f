/* What the sources of the plugin `files` have in common: the calls that they may use.

   The wrappers run wherever the program calls them: in signal handlers, in children of vfork(), on the small stacks of
   threads. So the code below them uses system calls only, nothing that DMTCP or the program may wrap, no malloc() and no
   snprintf(), and no function has more than 512 bytes on the stack (tests/engines/test_harmless.py). */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw.h"

/* DMTCP's functions; NULL in a program that DMTCP does not run */
extern void *dmtcp_dlsym(void *handle, const char *symbol) __attribute__((weak));
extern int dmtcp_plugin_disable_ckpt(void) __attribute__((weak));
extern void dmtcp_plugin_enable_ckpt(void) __attribute__((weak));
extern const char *dmtcp_get_ckpt_dir(void) __attribute__((weak));
extern int dmtcp_get_ckpt_signal(void) __attribute__((weak));

#pragma GCC visibility push(hidden)

/* below.c: return the function NAME of the next library, which ours stands before. wrappers.c: return ours. */
void *below(const char *name);
void *wrapper_of(const char *name);

#define FIND(name)                                  \
    static __typeof__(name) *next;                  \
    if (!next)                                      \
        next = (__typeof__(name) *)below(#name)

/* text.c: text that ends before END, which has the place for the NUL; what does not fit is left out. */
struct text {
    char *at;
    const char *end;
};

#define TEXT_IN(array) { array, array + sizeof array - 1 }
#define IS_FULL(text) ((text).at == (text).end)
#define FD_LINK 48

void add(struct text *text, const char *what);
void add_number(struct text *text, uint64_t value, unsigned base, int width);
void add_signed(struct text *text, int64_t value);
void name_descriptor(char link[FD_LINK], int fd);

/* spawn_folders.c: the folder in which the next file action opens files; NULL: that of the process. */
const char *folder_of_actions(const posix_spawn_file_actions_t *actions);

/* temporary_files.c: what programs call for files that have no name, or whose name is not known beforehand. */
int refuses_unnamed(int flags);
FILE *open_unnamed(const char *function);
void record_made(const char *path);

/* fifos.c: FIFOs whose opening waits for the other end. */
int await_other_end(int dir, const char *path, int flags, int ends[2]);
void close_ends(const int ends[2]);
int flags_of_mode(const char *mode);

/* pipe_links.c: pipes that are opened by the name of a descriptor. */
int open_pipe_again(const char *path, int flags);
void share_stream(const char *path, int fd);
FILE *open_pipe_stream_again(const char *path, const char *mode);

#pragma GCC visibility pop
