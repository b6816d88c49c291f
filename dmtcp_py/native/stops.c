/* Processes that are stopped (SIGSTOP, Ctrl-Z); loaded into criu.

   After a dump and at a restore, criu lets each process go on, its parent first, and sends a signal to those that were
   stopped. So for a moment a parent runs and finds that its child is not stopped. Here the others are let go once all
   that were stopped have stopped again. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <time.h>
#include <unistd.h>

#define MOST 4096 /* more threads than that go on in criu's order */
#define MOST_LOOKS 5000
#define TEXT_BYTES 512

typedef long (*ptrace_t)(int, pid_t, void *, void *);
typedef int (*kill_t)(pid_t, int);

static pid_t stopping[MOST], held[MOST];
static int stopping_count, held_count;
static pid_t owner; /* criu itself: what it forks at a restore has a copy of this */

static long next_ptrace(int request, pid_t tid, void *address, void *data)
{
    static ptrace_t next;
    if (!next)
        next = (ptrace_t)dlsym(RTLD_NEXT, "ptrace");
    return next(request, tid, address, data);
}

static bool stops(int signum)
{
    return signum == SIGSTOP || signum == SIGTSTP || signum == SIGTTIN || signum == SIGTTOU;
}

static int place_of(pid_t tid)
{
    for (int at = 0; at < stopping_count; at++)
        if (stopping[at] == tid)
            return at;
    return -1;
}

static void note_stopping(pid_t tid)
{
    owner = getpid();
    if (stopping_count < MOST && place_of(tid) < 0)
        stopping[stopping_count++] = tid;
}

static bool runs(pid_t tid)
{
    char path[48], text[TEXT_BYTES];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[length < 0 ? 0 : length] = 0;
    const char *end = strrchr(text, ')');
    return end && end[1] && !strchr("TZX", end[2]);
}

static void let_go(void)
{
    for (int at = 0; at < held_count; at++)
        next_ptrace(PTRACE_DETACH, held[at], NULL, NULL);
    held_count = stopping_count = 0;
}

/* Let thread TID go, or hold it back until the last one that is to be stopped has stopped. */
static long detach(pid_t tid, void *data)
{
    int place = place_of(tid);
    if (place < 0 && held_count < MOST) {
        held[held_count++] = tid;
        return 0;
    }
    long result = next_ptrace(PTRACE_DETACH, tid, NULL, data);
    if (place < 0)
        return result;
    for (int look = 0; look < MOST_LOOKS && runs(tid); look++)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    stopping[place] = stopping[--stopping_count];
    if (!stopping_count)
        let_go();
    return result;
}

/* The C library declares it with any arguments; criu passes these. */
long ptrace(enum __ptrace_request request, ...)
{
    va_list words;
    va_start(words, request);
    pid_t tid = va_arg(words, pid_t);
    void *address = va_arg(words, void *), *data = va_arg(words, void *);
    va_end(words);
    if (request == PTRACE_DETACH && stopping_count && owner == getpid() && !data)
        return detach(tid, data);
    long result = next_ptrace((int)request, tid, address, data);
    const siginfo_t *info = data;
    if (!result && request == PTRACE_GETSIGINFO && info->si_code >> 8 == PTRACE_EVENT_STOP && stops(info->si_signo))
        note_stopping(tid);
    return result;
}

int kill(pid_t pid, int signum)
{
    static kill_t next;
    if (!next)
        next = (kill_t)dlsym(RTLD_NEXT, "kill");
    if (pid > 0 && stops(signum))
        note_stopping(pid);
    return next(pid, signum);
}

/* What is still held at the end of criu, as one that was to be stopped was killed. */
__attribute__((destructor)) static void end(void)
{
    if (owner == getpid())
        let_go();
}
