/* Calls that wait for other processes, as DMTCP (3.2, 4.2, 5.0) does not wait for them; part of the plugin `forks`.

   fcntl() with F_SETLKW or F_OFD_SETLKW: DMTCP holds the lock meanwhile that a checkpoint needs, and so
   the process that is to free the file's lock would wait too. DMTCP has nothing to do with locks, so that the kernel is asked directly. A checkpoint interrupts
   the call, and the kernel begins it again afterwards, also after a restart.

   waitid() with WNOWAIT, which leaves an ended child to be waited for: DMTCP forgets the child's number. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <time.h>

#include "forks.h"
#include "raw.h"

int fcntl(int fd, int command, ...)
{
    FIND_AFTER(fcntl);
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (command != F_SETLKW && command != F_OFD_SETLKW)
        return next(fd, command, argument);
    long result = RAW(SYS_fcntl, fd, command, argument);
    if (result < 0)
        errno = (int)-result;
    return result < 0 ? -1 : 0;
}

#define FIRST_PAUSE_NS 1000
#define LONGEST_PAUSE_NS 100000000

pid_t dmtcp_virtual_to_real_pid(pid_t pid) __attribute__((weak)); /* 3.2, 4.2 */
pid_t dmtcp_real_to_virtual_pid(pid_t pid) __attribute__((weak));
pid_t dmtcp_pid_virtual_to_real(pid_t pid) __attribute__((weak)); /* 5.0 */
pid_t dmtcp_pid_real_to_virtual(pid_t pid) __attribute__((weak));

static pid_t kernels(pid_t pid)
{
    if (dmtcp_virtual_to_real_pid)
        return dmtcp_virtual_to_real_pid(pid);
    return dmtcp_pid_virtual_to_real ? dmtcp_pid_virtual_to_real(pid) : pid;
}

static pid_t programs(pid_t pid)
{
    if (dmtcp_real_to_virtual_pid)
        return dmtcp_real_to_virtual_pid(pid);
    return dmtcp_pid_real_to_virtual ? dmtcp_pid_real_to_virtual(pid) : pid;
}

/* Look once; a number of the kernel's is good until the next checkpoint. */
static long look_for_ended(idtype_t kind, id_t id, siginfo_t *info, int options)
{
    hold_checkpoints();
    id_t known = id && (kind == P_PID || kind == P_PGID) ? (id_t)kernels((pid_t)id) : id;
    *info = (siginfo_t){ 0 };
    long result = RAW(SYS_waitid, kind, known, info, options | WNOHANG, NULL);
    if (result >= 0 && info->si_pid)
        info->si_pid = programs(info->si_pid);
    let_checkpoints();
    return result;
}

int waitid(idtype_t kind, id_t id, siginfo_t *info, int options)
{
    FIND_AFTER(waitid);
    siginfo_t found;
    struct timespec pause = { .tv_nsec = FIRST_PAUSE_NS };
    if (!(options & WNOWAIT))
        return next(kind, id, info, options);
    long result;
    while (!(result = look_for_ended(kind, id, &found, options)) && !found.si_pid && !(options & WNOHANG)) {
        RAW(SYS_nanosleep, &pause, NULL);
        pause.tv_nsec = pause.tv_nsec * 2 < LONGEST_PAUSE_NS ? pause.tv_nsec * 2 : LONGEST_PAUSE_NS;
    }
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    if (info)
        *info = found;
    return 0;
}
