/* The signal by which DMTCP (3.2, 4.2, 5.0) suspends threads; loaded into programs as a plugin.

   It is SIGUSR2 unless --ckpt-signal names another, and programs use SIGUSR2. With the option DMTCP sends the other
   signal, but its wrappers of signal(), sigaction() and sigprocmask() still keep SIGUSR2 from the program:
   determineCkptSignal(), which they ask, takes whatever errno is set at that moment for a failure to read the number,
   and falls back. Here it reads the number. The program gets SIGUSR2, and DMTCP's wrappers hide the other signal.

   A program that handles that other signal itself would not get it. It then has a file in memory with the name of
   HANDLED, by which this is seen from outside (engine/dmtcp/obstacles.py). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HANDLED "dmtcp-run: handles the checkpoint signal"
#define VARIABLE "DMTCP_SIGCKPT"

static int checkpoint_signal(void)
{
    static int known;
    if (!known) {
        const char *text = getenv(VARIABLE);
        int number = text ? atoi(text) : 0;
        known = number > 0 && number < SIGRTMAX ? number : SIGUSR2;
    }
    return known;
}

int _ZN5dmtcp11DmtcpWorker19determineCkptSignalEv(void);

int _ZN5dmtcp11DmtcpWorker19determineCkptSignalEv(void)
{
    return checkpoint_signal();
}

/* As in forks.c: dlsym(RTLD_NEXT) is DMTCP's own up to 4.2, and would skip DMTCP's wrapper. */
static void *below(const char *name)
{
    Dl_info found;
    void *known_symbol = dlsym(RTLD_DEFAULT, "dmtcp_get_ckpt_signal");
    void *dmtcp = NULL;
    if (known_symbol && dladdr(known_symbol, &found))
        dmtcp = dlopen(found.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    return dlsym(dmtcp ? dmtcp : RTLD_NEXT, name);
}

/* Say, once, that the program wants to handle DMTCP's signal; to have it ignored, or not handled, does no harm. */
static void say_if_handled(sighandler_t handler)
{
    static int is_said;
    if (handler == SIG_DFL || handler == SIG_IGN || __atomic_exchange_n(&is_said, 1, __ATOMIC_ACQ_REL))
        return;
    int saved = errno;
    syscall(SYS_memfd_create, HANDLED, 0);
    errno = saved;
}

static int is_hidden(int signum)
{
    return signum == checkpoint_signal() && signum != SIGUSR2;
}

int sigaction(int signum, const struct sigaction *action, struct sigaction *former)
{
    static __typeof__(sigaction) *next;
    if (!next)
        next = (__typeof__(sigaction) *)below("sigaction");
    if (!is_hidden(signum))
        return next(signum, action, former);
    if (former)
        memset(former, 0, sizeof *former);
    if (action)
        say_if_handled(action->sa_handler);
    return 0;
}

sighandler_t signal(int signum, sighandler_t handler)
{
    static __typeof__(signal) *next;
    if (!next)
        next = (__typeof__(signal) *)below("signal");
    if (!is_hidden(signum))
        return next(signum, handler);
    say_if_handled(handler);
    return SIG_DFL;
}
