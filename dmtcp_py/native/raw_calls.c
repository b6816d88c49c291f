/* System calls that the program makes by their numbers, with syscall(); part of the plugin `files`.

   Those that change files are made by the functions of the same names, which record them. What a program writes in
   assembler is not seen. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "changes.h"
#include "files.h"

#if defined(__x86_64__) || defined(__aarch64__) /* elsewhere files.h calls syscall() itself */

#define PATH(n) (const char *)given[n]

static long ask_kernel(long number, const long given[6])
{
    long result = RAW(number, given[0], given[1], given[2], given[3], given[4], given[5]);
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

static long open_queue(const long given[6])
{
    struct held held;
    record_queue(&held, PATH(0), (int)given[1]);
    long result = ask_kernel(SYS_mq_open, given);
    release(&held);
    return result;
}

/* Make the call NUMBER with what is GIVEN if it changes files, and write what it returns to RESULT. */
static int is_made(long number, const long given[6], long *result)
{
    switch (number) {
#ifdef SYS_open
    case SYS_open: *result = open(PATH(0), (int)given[1], (mode_t)given[2]); return 1;
    case SYS_creat: *result = creat(PATH(0), (mode_t)given[1]); return 1;
    case SYS_rename: *result = rename(PATH(0), PATH(1)); return 1;
    case SYS_link: *result = link(PATH(0), PATH(1)); return 1;
    case SYS_symlink: *result = symlink(PATH(0), PATH(1)); return 1;
    case SYS_unlink: *result = unlink(PATH(0)); return 1;
    case SYS_rmdir: *result = rmdir(PATH(0)); return 1;
    case SYS_mkdir: *result = mkdir(PATH(0), (mode_t)given[1]); return 1;
    case SYS_mknod: *result = mknod(PATH(0), (mode_t)given[1], (dev_t)given[2]); return 1;
#endif
#ifdef SYS_renameat
    case SYS_renameat: *result = renameat((int)given[0], PATH(1), (int)given[2], PATH(3)); return 1;
#endif
    case SYS_openat: *result = openat((int)given[0], PATH(1), (int)given[2], (mode_t)given[3]); return 1;
    case SYS_truncate: *result = truncate(PATH(0), given[1]); return 1;
    case SYS_renameat2:
        *result = renameat2((int)given[0], PATH(1), (int)given[2], PATH(3), (unsigned)given[4]);
        return 1;
    case SYS_linkat: *result = linkat((int)given[0], PATH(1), (int)given[2], PATH(3), (int)given[4]); return 1;
    case SYS_symlinkat: *result = symlinkat(PATH(0), (int)given[1], PATH(2)); return 1;
    case SYS_unlinkat: *result = unlinkat((int)given[0], PATH(1), (int)given[2]); return 1;
    case SYS_mkdirat: *result = mkdirat((int)given[0], PATH(1), (mode_t)given[2]); return 1;
    case SYS_mknodat: *result = mknodat((int)given[0], PATH(1), (mode_t)given[2], (dev_t)given[3]); return 1;
    case SYS_ftruncate: *result = ftruncate((int)given[0], given[1]); return 1;
    case SYS_fallocate: *result = fallocate((int)given[0], (int)given[1], given[2], given[3]); return 1;
    case SYS_write: *result = write((int)given[0], (void *)given[1], (size_t)given[2]); return 1;
    case SYS_pwrite64: *result = pwrite((int)given[0], (void *)given[1], (size_t)given[2], given[3]); return 1;
    case SYS_writev: *result = writev((int)given[0], (struct iovec *)given[1], (int)given[2]); return 1;
    case SYS_pwritev:
        *result = pwritev((int)given[0], (struct iovec *)given[1], (int)given[2], given[3]);
        return 1;
#ifdef SYS_pwritev2
    case SYS_pwritev2:
        *result = pwritev2((int)given[0], (struct iovec *)given[1], (int)given[2], given[3], (int)given[5]);
        return 1;
#endif
    case SYS_sendfile:
        *result = sendfile((int)given[0], (int)given[1], (off_t *)given[2], (size_t)given[3]);
        return 1;
    case SYS_splice:
        *result = splice((int)given[0], (off64_t *)given[1], (int)given[2], (off64_t *)given[3], (size_t)given[4],
                         (unsigned)given[5]);
        return 1;
#ifdef SYS_copy_file_range
    case SYS_copy_file_range:
        *result = copy_file_range((int)given[0], (off64_t *)given[1], (int)given[2], (off64_t *)given[3],
                                  (size_t)given[4], (unsigned)given[5]);
        return 1;
#endif
    case SYS_mmap:
        *result = (long)mmap((void *)given[0], (size_t)given[1], (int)given[2], (int)given[3], (int)given[4],
                             given[5]);
        return 1;
    case SYS_mq_open: *result = open_queue(given); return 1;
    default: return 0;
    }
}

static long (*next)(long, ...);

/* The search itself may come here again. */
__attribute__((constructor)) static void find_next(void)
{
    static volatile int is_looking;
    if (next || is_looking)
        return;
    is_looking = 1;
    next = (long (*)(long, ...))below("syscall");
    is_looking = 0;
}

#define MOST_NESTED 4

/* Make the call as `is_made` does, unless this thread is within it MOST_NESTED times: the function of a library that
   hooks system calls may itself call syscall(). What a signal handler left by siglongjmp() lies below on the stack. */
static int is_made_once(long number, const long given[6], long *result)
{
    static __thread __attribute__((tls_model("initial-exec"))) const void *innermost;
    static __thread __attribute__((tls_model("initial-exec"))) int depth;
    const void *here = __builtin_frame_address(0), *outer = innermost;
    if (outer <= here)
        depth = 0;
    if (depth >= MOST_NESTED)
        return 0;
    innermost = here;
    depth++;
    int made = is_made(number, given, result);
    depth--;
    innermost = outer;
    return made;
}

long syscall(long number, ...)
{
    long given[6], result;
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        given[i] = va_arg(rest, long);
    va_end(rest);
    if (is_made_once(number, given, &result))
        return result;
    find_next();
    if (!next)
        return ask_kernel(number, given);
    return next(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

#endif
