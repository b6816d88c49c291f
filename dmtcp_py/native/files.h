/* What the sources of the plugin `files` have in common: the calls that they may use.

   The wrappers run wherever the program calls them: in signal handlers, in children of vfork(), on the small stacks of
   threads. So the code below them uses system calls only, nothing that DMTCP or the program may wrap, no malloc(), and
   little of the stack. */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* DMTCP's functions; NULL in a program that DMTCP does not run */
extern void *dmtcp_dlsym(void *handle, const char *symbol) __attribute__((weak));
extern int dmtcp_plugin_disable_ckpt(void) __attribute__((weak));
extern void dmtcp_plugin_enable_ckpt(void) __attribute__((weak));
extern const char *dmtcp_get_ckpt_dir(void) __attribute__((weak));
extern int dmtcp_get_ckpt_signal(void) __attribute__((weak));

#pragma GCC visibility push(hidden)

/* below.c: return the function NAME of the next library, which ours stands before. */
void *below(const char *name);

#define FIND(name)                                  \
    static __typeof__(name) *next;                  \
    if (!next)                                      \
        next = (__typeof__(name) *)below(#name)

/* temporary_files.c: what programs call for files that have no name, or whose name is not known beforehand. */
int refuses_unnamed(int flags);
FILE *open_unnamed(const char *function);
void record_made(const char *path);

/* pipe_links.c: pipes that are opened by the name of a descriptor. */
int open_pipe_again(const char *path, int flags);
FILE *open_pipe_stream_again(const char *path, const char *mode);

#pragma GCC visibility pop

/* A system call that returns minus errno on failure, and leaves errno as it was. */
#define RAW(...)                                    \
    ({                                              \
        int kept_ = errno;                          \
        long result_ = syscall(__VA_ARGS__);        \
        if (result_ == -1)                          \
            result_ = -errno;                       \
        errno = kept_;                              \
        result_;                                    \
    })

static inline int raw_open(const char *path, int flags, mode_t mode)
{
    return (int)RAW(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

static inline void raw_close(int fd)
{
    if (fd >= 0)
        RAW(SYS_close, fd);
}

static inline int raw_stat(int dir, const char *path, int flags, struct stat *found)
{
    return (int)RAW(SYS_newfstatat, dir, path, found, flags);
}

static inline int raw_link_text(const char *path, char *text, size_t size)
{
    long length = RAW(SYS_readlinkat, AT_FDCWD, path, text, size - 1);
    text[length < 0 ? 0 : length] = 0;
    return (int)length;
}

static inline void *raw_map(size_t size, int protection, int flags, int fd)
{
    long at = RAW(SYS_mmap, NULL, size, protection, MAP_PRIVATE | flags, fd, 0);
    return at < 0 && at > -4096 ? NULL : (void *)at;
}
