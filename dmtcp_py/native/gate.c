/* No checkpoint between an entry of the journal and the change that it announces; part of the plugin `files`.

   A checkpoint begins a new part while all processes are suspended. If it came in between, the entry would be in the
   old part, and the change after the image. Under DMTCP its wrapper lock keeps it out. CRIU suspends processes wherever
   they are, so each caller holds a shared lock on the file `gate`, and the process that takes an image locks it
   exclusively (dmtcp_py/rollback/recording.py).

   Signals wait as well: a handler may open files, or never return. */

#define _GNU_SOURCE
#include <pthread.h>
#include <sys/file.h>
#include <time.h>

#include "files.h"
#include "journal.h"

#define MOST_TRIES 5000
#define PAUSE_NS 1000000
#define MOST_GATES 256

static int gates[MOST_GATES]; /* this process's descriptors of the gate, plus 1 */

/* Block all signals but those of a fault, which would end the process, and the one by which DMTCP suspends a thread. */
void hold_signals(struct held *held)
{
    sigset_t all;
    sigfillset(&all);
    for (int i = 0; i < 6; i++)
        sigdelset(&all, ((const int[]){ SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS })[i]);
    if (dmtcp_get_ckpt_signal)
        sigdelset(&all, dmtcp_get_ckpt_signal());
    RAW(SYS_rt_sigprocmask, SIG_BLOCK, &all, &held->mask, _NSIG / 8);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &held->cancel);
}

void let_signals(const struct held *held)
{
    int now;
    pthread_setcancelstate(held->cancel, &now);
    RAW(SYS_rt_sigprocmask, SIG_SETMASK, &held->mask, NULL, _NSIG / 8);
}

/* Replace FROM with TO in the list of descriptors; 0 is a free place. */
static void replace_gate(int from, int to)
{
    for (int i = 0; i < MOST_GATES; i++) {
        int expected = from;
        if (__atomic_compare_exchange_n(&gates[i], &expected, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return;
    }
}

/* Enter the gate and return its descriptor. The process that takes an image first creates `shut`; new callers then wait
   outside, and the gate drains. If it stays shut for some seconds, that process has died, and the gate is ignored. */
static int enter_gate(void)
{
    static volatile int has_given_up;
    struct timespec pause = { 0, PAUSE_NS };
    struct stat found;
    int fd = raw_open(gate_path, O_RDONLY, 0);
    if (fd < 0)
        return NOT_HELD;
    replace_gate(0, fd + 1);
    for (int times = 0; !has_given_up; times++) {
        if (raw_stat(AT_FDCWD, shut_path, 0, &found) && !RAW(SYS_flock, fd, LOCK_SH | LOCK_NB)) {
            /* created between the two calls? then step back */
            if (raw_stat(AT_FDCWD, shut_path, 0, &found))
                break;
            RAW(SYS_flock, fd, LOCK_UN);
        }
        has_given_up = times > MOST_TRIES;
        RAW(SYS_nanosleep, &pause, NULL);
    }
    return fd;
}

/* Hold back checkpoints and signals until release(); nothing if nothing is recorded. */
void hold(struct held *held)
{
    held->how = NOT_HELD;
    held->is_made = 0;
    find_journal();
    if (!journal_folder[0] || is_suspended)
        return;
    hold_signals(held);
    if (dmtcp_plugin_disable_ckpt && dmtcp_plugin_enable_ckpt) {
        dmtcp_plugin_disable_ckpt();
        held->how = BY_DMTCP;
    } else {
        held->how = enter_gate();
        if (held->how == NOT_HELD)
            let_signals(held);
    }
}

void release(const struct held *held)
{
    if (held->how == NOT_HELD)
        return;
    if (held->how == BY_DMTCP) {
        dmtcp_plugin_enable_ckpt();
    } else {
        replace_gate(held->how + 1, 0);
        raw_close(held->how);
    }
    let_signals(held);
}

/* A child must not keep the locks of its parent's threads, which do not exist in it and will never release them. */
static void leave_gates(void)
{
    for (int i = 0; i < MOST_GATES; i++) {
        raw_close(gates[i] - 1);
        gates[i] = 0;
    }
}

__attribute__((constructor)) static void leave_gates_in_children(void)
{
    if (dmtcp_plugin_disable_ckpt)
        return;
    pthread_atfork(NULL, NULL, leave_gates);
    find_journal(); /* while the environment names it, see environment.c */
}
