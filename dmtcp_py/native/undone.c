/* The table of undone.h; part of the plugins `state` and `files`. */

#define _GNU_SOURCE
#include "undone.h"
#include "raw.h"
#include <signal.h>
#include <stdint.h>

#define MOST_UNDONE 1024

struct undone undone[MOST_UNDONE];
unsigned undone_count BESIDE_ADDRESSES;
static volatile int turn BESIDE_ADDRESSES;

extern int dmtcp_get_ckpt_signal(void) __attribute__((weak));

/* A handler would wait for ever for what its own thread holds; DMTCP suspends threads with a signal of its own. */
static void lock(uint64_t *mask)
{
    uint64_t most = ~(uint64_t)0;
    if (dmtcp_get_ckpt_signal)
        most &= ~((uint64_t)1 << (dmtcp_get_ckpt_signal() - 1));
    RAW(SYS_rt_sigprocmask, SIG_BLOCK, &most, mask, sizeof most);
    while (__atomic_exchange_n(&turn, 1, __ATOMIC_ACQUIRE))
        RAW(SYS_sched_yield);
}

static void unlock(const uint64_t *mask)
{
    __atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
    RAW(SYS_rt_sigprocmask, SIG_SETMASK, mask, NULL, sizeof *mask);
}

time_t seconds_now(void)
{
    struct timespec found;
    RAW(SYS_clock_gettime, CLOCK_REALTIME, &found);
    return found.tv_sec;
}

static void add_undone(int set, int number, int change)
{
    unsigned at = 0;
    while (at < undone_count && (undone[at].set != set || undone[at].number != number))
        at++;
    if (at == MOST_UNDONE)
        return;
    if (at == undone_count)
        undone[undone_count++] = (struct undone){ .set = set, .number = number };
    undone[at].change += change;
    undone[at].since = seconds_now();
    if (!undone[at].change)
        undone[at] = undone[--undone_count];
}

void note_undone(int set, const struct sembuf *operations, size_t count)
{
    uint64_t mask;
    lock(&mask);
    for (size_t i = 0; i < count; i++)
        if (operations[i].sem_flg & SEM_UNDO)
            add_undone(set, operations[i].sem_num, -operations[i].sem_op);
    unlock(&mask);
}

void forget_undone(int set, int number)
{
    uint64_t mask;
    lock(&mask);
    for (unsigned at = 0; at < undone_count;)
        if (undone[at].set == set && (number < 0 || undone[at].number == number))
            undone[at] = undone[--undone_count];
        else
            at++;
    unlock(&mask);
}

void forget_all_undone(void)
{
    if (undone_count || turn)
        undone_count = turn = 0;
}
