/* Real-time signals that wait to be delivered, with their values; part of the plugin `state`.

   DMTCP remembers which signals wait, not how often, nor their values. So each thread that is suspended takes its own
   and the process's out of their queues, before DMTCP looks, and they are queued again afterwards. */

#define _GNU_SOURCE
#include <sys/mman.h>
#include <time.h>

#include "state.h"

#define CHUNK (1 << 16)
#define FIRST_REAL_TIME 34 /* the C library keeps 32 and 33 for itself */

struct queued {
    siginfo_t info;
    const void *thread; /* NULL: queued for the process */
    int tid;
};

struct chunk {
    struct chunk *next;
    int count;
    struct queued all[];
};

#define IN_CHUNK ((int)((CHUNK - sizeof(struct chunk)) / sizeof(struct queued)))

static struct chunk *first, *last;
static volatile int turn;

static void lock(void)
{
    while (__atomic_exchange_n(&turn, 1, __ATOMIC_ACQUIRE))
        RAW(SYS_sched_yield);
}

static void unlock(void)
{
    __atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
}

void forget_queued(void)
{
    while (first) {
        struct chunk *next = first->next;
        RAW(SYS_munmap, first, CHUNK);
        first = next;
    }
    last = NULL;
}

static struct queued *make_place(void)
{
    if (!last || last->count == IN_CHUNK) {
        long at = RAW(SYS_mmap, NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at < 0 && at > -4096)
            return NULL;
        struct chunk *made = (struct chunk *)at;
        if (last)
            last->next = made;
        else
            first = made;
        last = made;
    }
    return &last->all[last->count];
}

static uint64_t real_time_signals(void)
{
    uint64_t all = ~0ULL << (FIRST_REAL_TIME - 1);
    if (dmtcp_get_ckpt_signal)
        all &= ~(1ULL << (dmtcp_get_ckpt_signal() - 1));
    return all;
}

/* Return the signals that wait for this thread alone: the line `SigPnd` of its status. */
static uint64_t waiting_for_thread(void)
{
    static const char title[] = "SigPnd:\t";
    char text[128];
    size_t known = 0, digits = 0;
    uint64_t found = 0;
    int fd = raw_open("/proc/thread-self/status", O_RDONLY, 0);
    for (long got; digits < 16 && (got = RAW(SYS_read, fd, text, sizeof text)) > 0;)
        for (long i = 0; i < got && digits < 16; i++) {
            char one = text[i];
            if (known < sizeof title - 1) {
                known = one == title[known] ? known + 1 : one == title[0];
                continue;
            }
            found = found << 4 | (uint64_t)(one <= '9' ? one - '0' : one - 'a' + 10);
            digits++;
        }
    if (fd >= 0)
        RAW(SYS_close, fd);
    return digits == 16 ? found : 0;
}

/* Take one of SIGNALS out of its queue; return whether there was one. */
static int take(uint64_t signals, const void *thread)
{
    const struct timespec none = { 0, 0 };
    struct queued *one = make_place();
    if (!one || RAW(SYS_rt_sigtimedwait, &signals, &one->info, &none, _NSIG / 8) <= 0)
        return 0;
    one->thread = thread;
    one->tid = (int)RAW(SYS_gettid);
    last->count++;
    return 1;
}

/* Take all real-time signals that wait for this thread, known by THREAD, and for the process. */
void take_queued(const void *thread)
{
    uint64_t all = real_time_signals(), waiting = 0;
    RAW(SYS_rt_sigpending, &waiting, _NSIG / 8);
    if (!(waiting & all))
        return;
    lock();
    /* the thread's own come first out of a queue */
    for (uint64_t mine; (mine = waiting_for_thread() & all);)
        if (!take(mine & -mine, thread))
            break;
    while (take(all, NULL))
        ;
    unlock();
}

static void queue(struct queued *one, int tid)
{
    int pid = (int)RAW(SYS_getpid), signum = one->info.si_signo;
    /* only such can be queued with all that is known of them */
    int is_whole = one->info.si_code < 0 && one->info.si_code != SI_TKILL;
    if (!one->thread && is_whole)
        RAW(SYS_rt_sigqueueinfo, pid, signum, &one->info);
    else if (!one->thread)
        RAW(SYS_kill, pid, signum);
    else if (is_whole)
        RAW(SYS_rt_tgsigqueueinfo, pid, tid, signum, &one->info);
    else
        RAW(SYS_tgkill, pid, tid, signum);
}

/* Queue the process's signals again; the threads' too, unless it is a restart: then each thread has another number. */
void put_back_queued(int is_restart)
{
    for (struct chunk *chunk = first; chunk; chunk = chunk->next)
        for (int i = 0; i < chunk->count; i++)
            if (!chunk->all[i].thread || !is_restart)
                queue(&chunk->all[i], chunk->all[i].tid);
}

/* Queue the signals of this thread again, which is known by THREAD. */
void put_back_queued_of(const void *thread)
{
    for (struct chunk *chunk = first; chunk; chunk = chunk->next)
        for (int i = 0; i < chunk->count; i++)
            if (chunk->all[i].thread == thread)
                queue(&chunk->all[i], (int)RAW(SYS_gettid));
}
