/* The signal masks of new threads; part of the plugin `state`.

   In each thread that a program makes, DMTCP (3.2, 4.2, 5.0) unblocks its signal by a set that it has not emptied. So it
   unblocks whatever other signals are in that place on the stack, which another thread may have had before; a signal
   that waits, or comes later, then ends the program. Here the set is emptied: it is the one to which DMTCP adds a signal
   right after it has called ckptSignal(). */

#define _GNU_SOURCE
#include "state.h"

#define MOST_BYTES 64 /* of instructions between the two calls */
#define BITS (8 * (int)sizeof(unsigned long))

static __thread uintptr_t asked_by __attribute__((tls_model("initial-exec")));

int _ZN5dmtcp11DmtcpWorker19determineCkptSignalEv(void) __attribute__((weak));
int _ZN5dmtcp7SigInfo10ckptSignalEv(void);

/* As DMTCP's own, which returns what the other function said at the start. */
int _ZN5dmtcp7SigInfo10ckptSignalEv(void)
{
    static int known;
    if (!known)
        known = _ZN5dmtcp11DmtcpWorker19determineCkptSignalEv ? _ZN5dmtcp11DmtcpWorker19determineCkptSignalEv() : SIGUSR2;
    asked_by = (uintptr_t)__builtin_return_address(0);
    return known;
}

int sigaddset(sigset_t *set, int number)
{
    uintptr_t caller = (uintptr_t)__builtin_return_address(0);
    if (set && caller > asked_by && caller - asked_by < MOST_BYTES)
        memset(set, 0, sizeof *set);
    /* as the C library does, which keeps two signals for itself */
    if (!set || number <= 0 || number >= _NSIG || (number >= __SIGRTMIN && number < SIGRTMIN)) {
        errno = EINVAL;
        return -1;
    }
    ((unsigned long *)set)[(number - 1) / BITS] |= 1UL << (number - 1) % BITS;
    return 0;
}
