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

/* pipe_links.c: pipes that are opened by the name of a descriptor. */
int open_pipe_again(const char *path, int flags);
void share_stream(const char *path, int fd);
FILE *open_pipe_stream_again(const char *path, const char *mode);

#pragma GCC visibility pop

/* A system call that returns minus errno on failure, and leaves errno as it was: syscall() is wrapped. */
static inline long raw_call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = e;
    register long sixth __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long which __asm__("x8") = number;
    register long first __asm__("x0") = a;
    register long second __asm__("x1") = b;
    register long third __asm__("x2") = c;
    register long fourth __asm__("x3") = d;
    register long fifth __asm__("x4") = e;
    register long sixth __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(first)
                     : "r"(which), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "memory");
    return first;
#else
    int kept = errno;
    long result = syscall(number, a, b, c, d, e, f);
    if (result == -1)
        result = -errno;
    errno = kept;
    return result;
#endif
}

#define RAW_7(number, a, b, c, d, e, f, ...) \
    raw_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define RAW(...) RAW_7(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

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
