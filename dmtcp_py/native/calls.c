/* System calls that a dump interrupts; loaded into criu.

   criu stops each thread in the middle of its system call. Most calls are begun again afterwards. But poll() and a few
   others fail with EINTR, in the program that runs on and in the one that is restored, though no signal was sent to it,
   and programs take that for an error; a sleep ends too soon. Here criu is shown such a call as one that the kernel
   begins again (-ERESTARTNOHAND), which both do. Where the call waits for a limited time, it is begun again for what is
   left of that: until it is stopped, /proc/TID/sched has the moment since which a thread waits.

   An EINTR that is due to a signal of the program's own, which is delivered next, stays; so does one of a call whose
   time cannot be found out. Only x86-64 has the registers of this file. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <time.h>
#include <unistd.h>

#define EINTR_OF_KERNEL (-4)
#define ERESTARTNOHAND (-514)
#define ERESTART_RESTARTBLOCK (-516)
#define TEXT_BYTES 4096

#ifdef __x86_64__

typedef unsigned long long word;

static struct wait {
    pid_t tid;
    long ms;
} *waits;
static size_t count, room;

static bool read_text(pid_t tid, const char *name, char *text)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)tid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, TEXT_BYTES - 1);
    close(fd);
    text[length < 0 ? 0 : length] = 0;
    return length > 0;
}

/* When the thread ran last, in milliseconds of a clock of the kernel's own; negative if that cannot be found out. */
static double ran_at(pid_t tid)
{
    char text[TEXT_BYTES];
    const char *at = read_text(tid, "sched", text) ? strstr(text, "se.exec_start") : NULL;
    at = at ? strchr(at, ':') : NULL;
    return at ? strtod(at + 1, NULL) : -1;
}

/* Remember how long the thread has waited, before it is stopped. */
static void note_wait(pid_t tid)
{
    double then = ran_at(tid), now = ran_at(getpid());
    if (count == room) {
        struct wait *more = realloc(waits, (room + 256) * sizeof *waits);
        if (!more)
            return;
        waits = more;
        room += 256;
    }
    waits[count++] = (struct wait){ tid, then < 0 || now < 0 ? -1 : now > then ? (long)(now - then) : 0 };
}

/* How long the thread has waited, in milliseconds; -1 if that is not known. */
static long waited_ms(pid_t tid)
{
    for (size_t at = count; at > 0; at--)
        if (waits[at - 1].tid == tid)
            return waits[at - 1].ms;
    return -1;
}

/* Set a limit in milliseconds to what is left of it; return whether the call can be begun again. */
static bool shorten(pid_t tid, word *limit)
{
    long waited = waited_ms(tid);
    if ((int)*limit < 0)
        return true;
    if (waited < 0)
        return false;
    *limit = (word)((int)*limit > waited ? (int)*limit - waited : 0);
    return true;
}

/* Have the thread sleep for what is left by poll(), which needs no memory for it; return whether that is possible. */
static bool poll_instead(pid_t tid, struct user_regs_struct *regs, word length)
{
    struct timespec all;
    struct iovec here = { &all, sizeof all }, there = { (void *)length, sizeof all };
    long waited = waited_ms(tid);
    if (waited < 0 || process_vm_readv(tid, &here, 1, &there, 1, 0) != sizeof all || all.tv_sec >= INT_MAX / 1000)
        return false;
    long left = all.tv_sec * 1000 + (all.tv_nsec + 999999) / 1000000 - waited;
    regs->orig_rax = SYS_poll;
    regs->rdi = regs->rsi = 0;
    regs->rdx = (word)(left > 0 ? left : 0);
    return true;
}

/* Whether a sleep can be begun again: with what is left, which the kernel has written if the caller wants to know. */
static bool sleep_on(pid_t tid, struct user_regs_struct *regs, word *length, word left)
{
    if (!left)
        return poll_instead(tid, regs, *length);
    *length = left;
    return true;
}

static bool is_of_wall_time(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME;
}

/* Change the arguments of an interrupted call so that it can be begun again; return whether it can be. */
static bool change_arguments(pid_t tid, struct user_regs_struct *regs)
{
    switch ((long)regs->orig_rax) {
    case SYS_poll:
        return shorten(tid, &regs->rdx);
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
        return shorten(tid, &regs->r10);
    case SYS_nanosleep:
        return sleep_on(tid, regs, &regs->rdi, regs->rsi);
    case SYS_clock_nanosleep:
        return !(regs->rsi & TIMER_ABSTIME) && is_of_wall_time((clockid_t)regs->rdi) &&
               sleep_on(tid, regs, &regs->rdx, regs->r10);
    case SYS_semop:
        return true;
    case SYS_semtimedop:
        return regs->r10 == 0;
    case SYS_rt_sigtimedwait:
        return regs->rdx == 0;
    case SYS_io_getevents:
        return regs->r8 == 0;
    default:
        return false;
    }
}

static word mask_in(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    return at ? strtoull(at + strlen(name), NULL, 16) : 0;
}

/* Whether a signal is about to be delivered to the thread; so too if that cannot be found out. */
static bool has_signal(pid_t tid)
{
    char status[TEXT_BYTES];
    if (!read_text(tid, "status", status))
        return true;
    word pending = mask_in(status, "\nSigPnd:") | mask_in(status, "\nShdPnd:");
    return pending & ~mask_in(status, "\nSigBlk:");
}

static void begin_again(pid_t tid, struct user_regs_struct *regs)
{
    long result = (long)regs->rax;
    if ((long)regs->orig_rax < 0 || (result != EINTR_OF_KERNEL && result != ERESTART_RESTARTBLOCK))
        return;
    if ((result == ERESTART_RESTARTBLOCK || !has_signal(tid)) && change_arguments(tid, regs))
        regs->rax = (word)ERESTARTNOHAND;
}

#endif

typedef long (*ptrace_t)(int, pid_t, void *, void *);

/* The C library declares it with any arguments; criu passes these. */
long ptrace(enum __ptrace_request request, ...)
{
    static ptrace_t real;
    va_list words;
    va_start(words, request);
    pid_t tid = va_arg(words, pid_t);
    void *address = va_arg(words, void *), *data = va_arg(words, void *);
    va_end(words);
    if (!real)
        real = (ptrace_t)dlsym(RTLD_NEXT, "ptrace");
#ifdef __x86_64__
    if (request == PTRACE_INTERRUPT)
        note_wait(tid);
#endif
    long result = real((int)request, tid, address, data);
#ifdef __x86_64__
    struct iovec *part = data;
    if (result == 0 && request == PTRACE_GETREGSET && (long)address == NT_PRSTATUS &&
        part->iov_len == sizeof(struct user_regs_struct))
        begin_again(tid, part->iov_base);
#endif
    return result;
}
