/* The clocks that count the processor's time of a process, its threads and its ended children, which begin at 0 in the
   process that a restart makes; part of the plugin `state`.

   The kernel lets nobody set them. So what a program asks the C library is answered with what was counted before the
   restart, and what the kernel counts since. The clock of another thread than the one that asks, of another process, and
   what /proc shows, count from the restart. */

#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/times.h>
#include <time.h>

#include "state.h"

#define COUNTERS ((int)((sizeof(struct rusage) - offsetof(struct rusage, ru_maxrss)) / sizeof(long)))
#define BILLION 1000000000L
#define MILLION 1000000L

/* What a process, a thread or the ended children have used */
struct used {
    struct timespec cpu;
    struct rusage all;
};

static struct used process_before, process_seen, children_before, children_seen;
static int counts_on BESIDE_ADDRESSES; /* whether a restart has put something into them */
static volatile unsigned restarts;
static __thread struct used thread_before __attribute__((tls_model("initial-exec")));
static __thread struct used thread_seen __attribute__((tls_model("initial-exec")));

static void add_time(struct timespec *to, const struct timespec *other, int sign)
{
    long all = to->tv_nsec + sign * other->tv_nsec;
    to->tv_sec += sign * other->tv_sec - (all < 0) + (all >= BILLION);
    to->tv_nsec = all + (all < 0 ? BILLION : 0) - (all >= BILLION ? BILLION : 0);
}

static void add_short_time(struct timeval *to, const struct timeval *other, int sign)
{
    long all = to->tv_usec + sign * other->tv_usec;
    to->tv_sec += sign * other->tv_sec - (all < 0) + (all >= MILLION);
    to->tv_usec = all + (all < 0 ? MILLION : 0) - (all >= MILLION ? MILLION : 0);
}

static void add_all(struct rusage *to, const struct rusage *other, int sign)
{
    long *counters = &to->ru_maxrss;
    const long *others = &other->ru_maxrss;
    long largest = sign < 0 || to->ru_maxrss > other->ru_maxrss ? to->ru_maxrss : other->ru_maxrss;
    add_short_time(&to->ru_utime, &other->ru_utime, sign);
    add_short_time(&to->ru_stime, &other->ru_stime, sign);
    for (int i = 0; i < COUNTERS; i++)
        counters[i] += sign * others[i];
    to->ru_maxrss = largest;
}

/* Read what was used according to the kernel, WHO and CLOCK; clock -1: none. */
static void read_used(struct used *now, int who, clockid_t clock)
{
    RAW(SYS_getrusage, who, &now->all);
    if (clock >= 0)
        RAW(SYS_clock_gettime, clock, &now->cpu);
}

/* Remember in SEEN what the program would be told. */
static void record(struct used *seen, const struct used *before, int who, clockid_t clock)
{
    read_used(seen, who, clock);
    add_all(&seen->all, &before->all, 1);
    add_time(&seen->cpu, &before->cpu, 1);
}

/* Have the program told what was SEEN, and from then on what is used in addition. */
static void go_on_from(const struct used *seen, struct used *before, int who, clockid_t clock)
{
    struct used now = { 0 };
    read_used(&now, who, clock);
    *before = *seen;
    add_all(&before->all, &now.all, -1);
    add_time(&before->cpu, &now.cpu, -1);
}

void record_clocks(void)
{
    record(&process_seen, &process_before, RUSAGE_SELF, CLOCK_PROCESS_CPUTIME_ID);
    record(&children_seen, &children_before, RUSAGE_CHILDREN, -1);
}

void record_clocks_of_thread(void)
{
    record(&thread_seen, &thread_before, RUSAGE_THREAD, CLOCK_THREAD_CPUTIME_ID);
}

void put_back_clocks(void)
{
    counts_on = 1;
    restarts++;
    go_on_from(&process_seen, &process_before, RUSAGE_SELF, CLOCK_PROCESS_CPUTIME_ID);
    go_on_from(&children_seen, &children_before, RUSAGE_CHILDREN, -1);
}

void put_back_clocks_of_thread(void)
{
    go_on_from(&thread_seen, &thread_before, RUSAGE_THREAD, CLOCK_THREAD_CPUTIME_ID);
}

/* In a new child. */
void forget_clocks(void)
{
    static const struct used none;
    if (!counts_on)
        return;
    process_before = children_before = thread_before = none;
    counts_on = 0;
}

static int (*next_gettime)(clockid_t, struct timespec *);

/* Once, at the start: during a restart DMTCP asks for the time when no function can be looked up. */
void find_clocks(void)
{
    next_gettime = (int (*)(clockid_t, struct timespec *))next_function("clock_gettime");
}

/* Whether there was a restart since LIFE was read: the kernel's answer of before and what is put back after it would
   count the same time twice. */
static int is_other_life(unsigned life)
{
    __asm__ volatile("" ::: "memory");
    return life != restarts;
}

static int answer(long result)
{
    if (result < 0)
        errno = (int)-result;
    return result < 0 ? -1 : 0;
}

int clock_gettime(clockid_t clock, struct timespec *found)
{
    const struct used *before = clock == CLOCK_PROCESS_CPUTIME_ID  ? &process_before
                                : clock == CLOCK_THREAD_CPUTIME_ID ? &thread_before
                                                                   : NULL;
    if (!before && next_gettime)
        return next_gettime(clock, found);
    int result;
    unsigned life;
    do {
        life = restarts;
        result = answer(RAW(SYS_clock_gettime, clock, found));
        if (!result && before)
            add_time(found, &before->cpu, 1);
    } while (is_other_life(life));
    return result;
}

/* The clock of this process is known to the others by its name. */
int clock_getcpuclockid(pid_t pid, clockid_t *clock)
{
    static int (*next)(pid_t, clockid_t *);
    if (!next)
        next = (int (*)(pid_t, clockid_t *))next_function("clock_getcpuclockid");
    if (pid && pid != getpid())
        return next(pid, clock);
    *clock = CLOCK_PROCESS_CPUTIME_ID;
    return 0;
}

clock_t clock(void)
{
    struct timespec now = { 0 };
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * CLOCKS_PER_SEC + now.tv_nsec / (BILLION / CLOCKS_PER_SEC);
}

int getrusage(__rusage_who_t who, struct rusage *found)
{
    const struct used *before = who == RUSAGE_SELF     ? &process_before
                                : who == RUSAGE_THREAD ? &thread_before
                                                       : &children_before;
    int result;
    unsigned life;
    do {
        life = restarts;
        result = answer(RAW(SYS_getrusage, who, found));
        if (!result)
            add_all(found, &before->all, 1);
    } while (is_other_life(life));
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
    long result;
    unsigned life;
    do {
        life = restarts;
        result = RAW(SYS_times, &now);
        now.tms_utime += ticks(&process_before.all.ru_utime);
        now.tms_stime += ticks(&process_before.all.ru_stime);
        now.tms_cutime += ticks(&children_before.all.ru_utime);
        now.tms_cstime += ticks(&children_before.all.ru_stime);
    } while (is_other_life(life));
    if (found)
        *found = now;
    return result;
}
