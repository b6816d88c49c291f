/* System calls past all wrappers, of DMTCP and of ours: pids, signals and descriptors are the kernel's. */

#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of a variable that each new child looks at: it is on a page to which the loader writes in any case, not on one of its
   own, which would cost each fork(2) a page fault. */
#define BESIDE_ADDRESSES __attribute__((section(".data")))

/* A system call that returns minus errno on failure, and leaves errno as it is: syscall() is wrapped. */
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
