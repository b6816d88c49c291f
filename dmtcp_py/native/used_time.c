/* The clocks that count the processor's time, which begin at 0 in the process that a restore makes; loaded into programs
   under CRIU.

   The kernel lets nobody set them, and they go back in no other case. So one that shows less than the program was told
   before goes on from that: what was used between that look and the checkpoint is not counted. What another process, or
   /proc, shows counts from the restore. Under DMTCP the plugin `state` knows the moment of the restart. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000L
#define MILLION 1000000L

/* What the kernel showed last, and what was counted before a restore */
struct counter {
    long shown, before;
};

enum { CPU, USER, SYSTEM, COUNTERS };

static struct counter of_process[COUNTERS], of_children[COUNTERS];
static __thread struct counter of_thread[COUNTERS] __attribute__((tls_model("initial-exec")));
static __thread long thread __attribute__((tls_model("initial-exec")));
static long process;
static char is_taken;

static int (*next_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void find_next(void)
{
    next_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
}

static void forget(struct counter counters[COUNTERS])
{
    for (int i = 0; i < COUNTERS; i++)
        counters[i] = (struct counter){0};
}

/* Take the counters, for a look at the kernel's clock and what follows from it: two looks at a time, one of which comes
   later, would be a clock that went back. Fails where a signal handler interrupts one. A child has none of its parent's. */
static bool take(void)
{
    if (process != syscall(SYS_getpid)) {
        process = syscall(SYS_getpid);
        forget(of_process), forget(of_children);
        __atomic_clear(&is_taken, __ATOMIC_RELEASE);
    }
    if (thread != syscall(SYS_gettid)) {
        thread = syscall(SYS_gettid);
        forget(of_thread);
    }
    return !__atomic_test_and_set(&is_taken, __ATOMIC_ACQUIRE);
}

/* Return what the program is told where the kernel shows NOW; IS_OURS is what take() returned. */
static long told(struct counter *counter, long now, long slack, bool is_ours)
{
    if (is_ours && now < counter->shown - slack)
        counter->before += counter->shown;
    if (is_ours && (now > counter->shown || now < counter->shown - slack))
        counter->shown = now;
    return counter->before + (now > counter->shown ? now : counter->shown);
}

static void release(bool is_ours)
{
    if (is_ours)
        __atomic_clear(&is_taken, __ATOMIC_RELEASE);
}

static int look(clockid_t clock, struct counter *counters, struct timespec *found)
{
    bool is_ours = take();
    int result = (int)syscall(SYS_clock_gettime, clock, found);
    if (!result) {
        long all = told(&counters[CPU], found->tv_sec * BILLION + found->tv_nsec, MILLION, is_ours);
        *found = (struct timespec){all / BILLION, all % BILLION};
    }
    release(is_ours);
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *found)
{
    if (clock == CLOCK_PROCESS_CPUTIME_ID)
        return look(clock, of_process, found);
    if (clock == CLOCK_THREAD_CPUTIME_ID)
        return look(clock, of_thread, found);
    return next_gettime ? next_gettime(clock, found) : (int)syscall(SYS_clock_gettime, clock, found);
}

/* The clock of this process is known to the others by its name. */
int clock_getcpuclockid(pid_t pid, clockid_t *clock)
{
    int (*next)(pid_t, clockid_t *) = (int (*)(pid_t, clockid_t *))dlsym(RTLD_NEXT, "clock_getcpuclockid");
    if (next && pid && pid != getpid())
        return next(pid, clock);
    *clock = CLOCK_PROCESS_CPUTIME_ID;
    return 0;
}

clock_t clock(void)
{
    struct timespec now;
    if (look(CLOCK_PROCESS_CPUTIME_ID, of_process, &now))
        return -1;
    return now.tv_sec * CLOCKS_PER_SEC + now.tv_nsec / (BILLION / CLOCKS_PER_SEC);
}

static void go_on(struct counter *counter, struct timeval *time, bool is_ours)
{
    long all = told(counter, time->tv_sec * MILLION + time->tv_usec, MILLION / 1000, is_ours);
    *time = (struct timeval){all / MILLION, all % MILLION};
}

int getrusage(__rusage_who_t who, struct rusage *found)
{
    struct counter *counters = who == RUSAGE_SELF ? of_process : who == RUSAGE_THREAD ? of_thread : of_children;
    bool is_ours = take();
    int result = (int)syscall(SYS_getrusage, who, found);
    if (!result) {
        go_on(&counters[USER], &found->ru_utime, is_ours);
        go_on(&counters[SYSTEM], &found->ru_stime, is_ours);
    }
    release(is_ours);
    return result;
}

static clock_t ticks(const struct timeval *time)
{
    long each = sysconf(_SC_CLK_TCK);
    return time->tv_sec * each + time->tv_usec / (MILLION / each);
}

clock_t times(struct tms *found)
{
    struct tms now;
    struct rusage own, children;
    long result = syscall(SYS_times, &now);
    if (found && result != -1 && !getrusage(RUSAGE_SELF, &own) && !getrusage(RUSAGE_CHILDREN, &children))
        *found = (struct tms){ticks(&own.ru_utime), ticks(&own.ru_stime), ticks(&children.ru_utime),
                              ticks(&children.ru_stime)};
    return result;
}
