/* Calls about other processes, by which DMTCP (3.2, 4.2, 5.0) waits too long, or knows a number wrongly; part of the
   plugin `forks`.

   fcntl() with F_SETLKW or F_OFD_SETLKW: DMTCP holds the lock meanwhile that a checkpoint needs, and so
   the process that is to free the file's lock would wait too. DMTCP has nothing to do with locks, so that the kernel is asked directly. A checkpoint interrupts
   the call, and the kernel begins it again afterwards, also after a restart.

   fcntl() with F_SETOWN and its kin: DMTCP leaves some numbers of processes as they are, up to 4.2 those of the calls with
   _EX, in 5.0 the answer to F_GETOWN.

   waitid() with WNOWAIT, which leaves an ended child to be waited for: DMTCP forgets the child's number. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>

#include "forks.h"
#include "raw.h"

#define FIRST_PAUSE_NS 1000
#define LONGEST_PAUSE_NS 100000000

pid_t dmtcp_virtual_to_real_pid(pid_t pid) __attribute__((weak)); /* 3.2, 4.2 */
pid_t dmtcp_real_to_virtual_pid(pid_t pid) __attribute__((weak));
pid_t dmtcp_pid_virtual_to_real(pid_t pid) __attribute__((weak)); /* 5.0 */
pid_t dmtcp_pid_real_to_virtual(pid_t pid) __attribute__((weak));

pid_t kernels_number(pid_t pid)
{
    if (dmtcp_virtual_to_real_pid)
        return dmtcp_virtual_to_real_pid(pid);
    return dmtcp_pid_virtual_to_real ? dmtcp_pid_virtual_to_real(pid) : pid;
}

pid_t programs_number(pid_t pid)
{
    if (dmtcp_real_to_virtual_pid)
        return dmtcp_real_to_virtual_pid(pid);
    return dmtcp_pid_real_to_virtual ? dmtcp_pid_real_to_virtual(pid) : pid;
}

static int answer(long result)
{
    if (result >= 0 || result <= -4096)
        return (int)result;
    errno = (int)-result;
    return -1;
}

static pid_t kernels_or_group(pid_t pid)
{
    return pid < 0 ? -kernels_number(-pid) : pid ? kernels_number(pid) : 0;
}

/* Ask who gets the signals of FD: the kernel's answer, with the program's number. */
static long owner_of(int fd, struct f_owner_ex *owner)
{
    long result = RAW(SYS_fcntl, fd, F_GETOWN_EX, owner);
    if (result >= 0 && owner->pid)
        owner->pid = programs_number(owner->pid);
    return result;
}

static int control_owner(int fd, int command, void *argument)
{
    struct f_owner_ex owner = { 0 };
    long result;
    hold_checkpoints();
    if (command == F_SETOWN) {
        result = RAW(SYS_fcntl, fd, command, kernels_or_group((pid_t)(intptr_t)argument));
    } else if (command == F_SETOWN_EX) {
        owner = *(struct f_owner_ex *)argument;
        owner.pid = kernels_or_group(owner.pid);
        result = RAW(SYS_fcntl, fd, command, &owner);
    } else {
        result = owner_of(fd, &owner);
        if (result >= 0 && command == F_GETOWN_EX)
            *(struct f_owner_ex *)argument = owner;
        else if (result >= 0)
            result = owner.type == F_OWNER_PGRP ? -owner.pid : owner.pid;
    }
    let_checkpoints();
    /* the number of a group is no failure */
    return command == F_GETOWN && owner.type == F_OWNER_PGRP ? (int)result : answer(result);
}

int fcntl(int fd, int command, ...)
{
    FIND_AFTER(fcntl);
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    switch (command) {
    case F_SETLKW:
    case F_OFD_SETLKW:
        return answer(RAW(SYS_fcntl, fd, command, argument));
    case F_SETOWN:
    case F_GETOWN:
    case F_SETOWN_EX:
    case F_GETOWN_EX:
        return control_owner(fd, command, argument);
    default:
        return next(fd, command, argument);
    }
}

/* Look once; a number of the kernel's is good until the next checkpoint. */
static long look_for_ended(idtype_t kind, id_t id, siginfo_t *info, int options)
{
    hold_checkpoints();
    id_t known = id && (kind == P_PID || kind == P_PGID) ? (id_t)kernels_number((pid_t)id) : id;
    *info = (siginfo_t){ 0 };
    long result = RAW(SYS_waitid, kind, known, info, options | WNOHANG, NULL);
    if (result >= 0 && info->si_pid)
        info->si_pid = programs_number(info->si_pid);
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
    if (result < 0)
        return answer(result);
    if (info)
        *info = found;
    return 0;
}
