/* What DMTCP (3.2, 4.2, 5.0) refuses a program, or gives it differently, from its first second; part of the plugin
   `forks`.

   The program then fails, and that looks like a failure of its own. Each refusal is noted in the file NOTES of the
   computation's folder, one word a line, where the supervisor finds it (engine/dmtcp/refusals.py):

   - inotify: DMTCP answers that there is no memory.
   - user-namespace: a process with threads cannot have one of its own, and DMTCP has a thread in each.
   - namespaces: DMTCP ends a process that calls clone() for another than a thread, as programs that make containers do.
   - trace: DMTCP does not translate the numbers of processes for ptrace().
   - message-thread: the C library starts a thread for mq_notify() that DMTCP does not know, and that crashes.
   - timer-thread: DMTCP 5.0 asks for the signal of a timer with a thread's number that the kernel does not know.
   - open-files N: DMTCP makes a limit on open files below 1024 one of 1024, or fails. Its own descriptors are below 900,
     so that a higher limit is set past it.

   pidfd_open() fails only because DMTCP does not translate the number of the process, which this does. What it opens
   prevents checkpoints for as long as it is open (engine/dmtcp/obstacles.py). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "forks.h"
#include "raw.h"

#define NOTES "refused" /* in the folder in which DMTCP makes its own */
#define LEAST_FILES 900
#define LINE 64
#define NAMESPACES                                                                                                     \
    (CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER | CLONE_NEWUTS)

const char *dmtcp_get_tmpdir(void) __attribute__((weak));
void *dmtcp_dlsym(void *library, const char *name) __attribute__((weak));
pid_t dmtcp_virtual_to_real_pid(pid_t pid) __attribute__((weak));
pid_t dmtcp_pid_virtual_to_real(pid_t pid) __attribute__((weak));

void *after(const char *name)
{
    return dmtcp_dlsym ? dmtcp_dlsym(RTLD_NEXT, name) : dlsym(RTLD_NEXT, name);
}

/* Append LINE in one piece. */
static void note(const char *line)
{
    int saved = errno;
    hold_checkpoints();
    int folder = dmtcp_get_tmpdir ? (int)syscall(SYS_openat, AT_FDCWD, dmtcp_get_tmpdir(), O_PATH | O_DIRECTORY) : -1;
    int file = (int)syscall(SYS_openat, folder, "../" NOTES, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    syscall(SYS_write, file, line, strlen(line));
    syscall(SYS_close, file);
    syscall(SYS_close, folder);
    let_checkpoints();
    errno = saved;
}

static int noted_inotify(int result)
{
    if (result < 0 && errno == ENOMEM)
        note("inotify\n");
    return result;
}

int inotify_init(void)
{
    FIND_AFTER(inotify_init);
    return noted_inotify(next());
}

int inotify_init1(int flags)
{
    FIND_AFTER(inotify_init1);
    return noted_inotify(next(flags));
}

int unshare(int flags)
{
    FIND_AFTER(unshare);
    int result = next(flags);
    if (result < 0 && errno == EINVAL && flags & CLONE_NEWUSER)
        note("user-namespace\n");
    return result;
}

int setns(int fd, int kinds)
{
    FIND_AFTER(setns);
    int result = next(fd, kinds);
    if (result < 0 && errno == EINVAL && (!kinds || kinds & CLONE_NEWUSER))
        note("user-namespace\n");
    return result;
}

int mq_notify(mqd_t queue, const struct sigevent *event)
{
    FIND_AFTER(mq_notify);
    if (!event || event->sigev_notify != SIGEV_THREAD)
        return next(queue, event);
    note("message-thread\n");
    errno = ENOSYS;
    return -1;
}

int timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
    FIND_AFTER(timer_create);
    int result = next(clock, event, timer);
    if (result < 0 && errno == EINVAL && event && event->sigev_notify == SIGEV_THREAD)
        note("timer-thread\n");
    return result;
}

typedef long ptrace_function(int request, pid_t pid, void *address, void *data);

long ptrace(enum __ptrace_request request, ...)
{
    static ptrace_function *next;
    if (!next)
        next = (ptrace_function *)after("ptrace");
    va_list rest;
    va_start(rest, request);
    pid_t pid = va_arg(rest, pid_t);
    void *address = va_arg(rest, void *), *data = va_arg(rest, void *);
    va_end(rest);
    long result = next((int)request, pid, address, data);
    if (result < 0 && errno == ESRCH)
        note("trace\n");
    return result;
}

static bool leaves_room(const struct rlimit *limit)
{
    return !limit || (limit->rlim_cur >= LEAST_FILES && limit->rlim_max >= LEAST_FILES);
}

static void note_limit(const struct rlimit *limit)
{
    char line[LINE];
    if (leaves_room(limit))
        return;
    snprintf(line, sizeof line, "open-files %llu\n", (unsigned long long)limit->rlim_cur);
    note(line);
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    static int (*next)(__rlimit_resource_t, const struct rlimit *);
    if (!next)
        next = (int (*)(__rlimit_resource_t, const struct rlimit *))after("setrlimit");
    if (resource == RLIMIT_NOFILE)
        note_limit(limit);
    if (resource == RLIMIT_NOFILE && leaves_room(limit))
        return (int)syscall(SYS_prlimit64, 0, resource, limit, NULL);
    return next(resource, limit);
}

int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
    return setrlimit(resource, (const struct rlimit *)limit);
}

int prlimit(__pid_t pid, __rlimit_resource_t resource, const struct rlimit *limit, struct rlimit *former)
{
    static int (*next)(__pid_t, __rlimit_resource_t, const struct rlimit *, struct rlimit *);
    if (!next)
        next = (int (*)(__pid_t, __rlimit_resource_t, const struct rlimit *, struct rlimit *))after("prlimit");
    if (resource == RLIMIT_NOFILE)
        note_limit(limit);
    return next(pid, resource, limit, former);
}

typedef long system_call(long number, ...);

static system_call *next_call;

static int is_finding; /* whether next_call is being looked for */

__attribute__((constructor)) static void find_next_call(void)
{
    is_finding = 1;
    next_call = (system_call *)after("syscall");
    is_finding = 0;
}

/* Past all wrappers: DMTCP's search for a function calls gettid(), and programs have one that calls syscall(). */
static long call_kernel(const long words[6], long number)
{
    long result = raw_call(number, words[0], words[1], words[2], words[3], words[4], words[5]);
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

static pid_t real_number(pid_t pid)
{
    if (dmtcp_virtual_to_real_pid) /* up to 4.2 */
        return dmtcp_virtual_to_real_pid(pid);
    return dmtcp_pid_virtual_to_real ? dmtcp_pid_virtual_to_real(pid) : pid;
}

static bool makes_namespaces(long number, const long words[6])
{
    if (number == SYS_clone)
        return words[0] & NAMESPACES;
    const unsigned long long *flags = (const unsigned long long *)words[0]; /* the first field of its structure */
    return number == SYS_clone3 && flags && *flags & NAMESPACES;
}

long syscall(long number, ...)
{
    long words[6];
    va_list given;
    va_start(given, number);
    for (int i = 0; i < 6; i++)
        words[i] = va_arg(given, long);
    va_end(given);
    if (!next_call && is_finding)
        return call_kernel(words, number);
    if (!next_call) /* called by the constructor of a library that is initialised before this one */
        find_next_call();
    if (makes_namespaces(number, words)) {
        note("namespaces\n");
        errno = EINVAL;
        return -1;
    }
    if (number == SYS_pidfd_open)
        words[0] = real_number((pid_t)words[0]);
    return next_call(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

int pidfd_open(pid_t pid, unsigned flags);

int pidfd_open(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}
