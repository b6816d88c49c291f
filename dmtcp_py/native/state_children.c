/* Children that have ended and were not waited for, and processes that are stopped; part of the plugin `state`.

   DMTCP's images are of processes that run. A child that has ended has no image, and its status would be lost: after the
   restart a child is made that ends at once with the same status, and gets the same number within DMTCP.

   A stopped process cannot be checkpointed. dmtcp-run lets it go on once the checkpoint was ordered, and notes that in
   the file `stopped`; the process stops again after the checkpoint, and after the restart. */

#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "state.h"

#define MOST_CHILDREN 1024

/* DMTCP's table of processes, by the names that C++ gives to its functions (3.2, 4.2, 5.0) */
extern void *_ZN5dmtcp15VirtualPidTable8instanceEv(void) __attribute__((weak));
extern void _ZN5dmtcp15VirtualPidTable13updateMappingEii(void *table, int virtual_pid, int pid) __attribute__((weak));

static struct ended {
    int virtual_pid, code, status, pid;
} ended[MOST_CHILDREN];
static int ended_count;
static volatile int was_stopped, has_checkpointed;

static int virtual_pid(int pid)
{
    if (dmtcp_real_to_virtual_pid)
        return dmtcp_real_to_virtual_pid(pid);
    return dmtcp_pid_real_to_virtual ? dmtcp_pid_real_to_virtual(pid) : pid;
}

/* Call LOOK with each number in the file FD, and close it. */
static void each_number(int fd, void (*look)(int number))
{
    static char text[4096];
    int number = 0;
    for (long got; fd >= 0 && (got = RAW(SYS_read, fd, text, sizeof text)) > 0;)
        for (long i = 0; i < got; i++) {
            int is_digit = text[i] >= '0' && text[i] <= '9';
            if (!is_digit && number)
                look(number);
            number = is_digit ? number * 10 + text[i] - '0' : 0;
        }
    if (fd >= 0)
        RAW(SYS_close, fd);
}

static void record_child(int pid)
{
    siginfo_t info = { 0 };
    if (RAW(SYS_waitid, P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL, NULL) < 0 || info.si_pid != pid)
        return;
    if (ended_count < MOST_CHILDREN)
        ended[ended_count++] = (struct ended){ virtual_pid(pid), info.si_code, info.si_status, pid };
}

static void record_children_of(int tid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", tid);
    each_number(raw_open(path, O_RDONLY, 0), record_child);
}

static int is_listed;

static void compare(int pid)
{
    is_listed |= pid == (int)RAW(SYS_getpid);
}

static int is_to_stop(void)
{
    is_listed = 0;
    each_number(open_ours("stopped"), compare);
    return is_listed;
}

void record_children(void)
{
    ended_count = 0;
    each_entry("/proc/self/task", record_children_of);
    was_stopped = is_to_stop();
    has_checkpointed = 1;
}

/* End this process, a copy of the one that DMTCP restarts, as the child had ended. */
static void end_as(const struct ended *one)
{
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } by_default = { 0 };
    const uint64_t none = 0;
    const struct {
        uint64_t soft, hard;
    } no_core = { 0, 0 };
    if (one->code != CLD_EXITED) {
        RAW(SYS_prlimit64, 0, RLIMIT_CORE, &no_core, NULL);
        RAW(SYS_rt_sigaction, one->status, &by_default, NULL, _NSIG / 8);
        RAW(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, _NSIG / 8);
        RAW(SYS_kill, RAW(SYS_getpid), one->status);
    }
    for (;;)
        RAW(SYS_exit_group, one->status);
}

static void make_ended(struct ended *one, void *table)
{
    siginfo_t info;
    const uint64_t child_signal = 1ULL << (SIGCHLD - 1);
    const struct timespec none = { 0, 0 };
    int pid = (int)RAW(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        end_as(one);
    one->pid = pid;
    if (pid < 0)
        return;
    while (RAW(SYS_waitid, P_PID, pid, &info, WEXITED | WNOWAIT, NULL) == -EINTR)
        ;
    _ZN5dmtcp15VirtualPidTable13updateMappingEii(table, one->virtual_pid, pid);
    note_number(one->virtual_pid);
    /* the program got the signal before the checkpoint; if it waits, DMTCP sends it again */
    RAW(SYS_rt_sigtimedwait, &child_signal, NULL, &none, _NSIG / 8);
}

void put_back_children(void)
{
    forget_numbers();
    if (!_ZN5dmtcp15VirtualPidTable8instanceEv || !_ZN5dmtcp15VirtualPidTable13updateMappingEii)
        return;
    for (int i = 0; i < ended_count; i++)
        make_ended(&ended[i], _ZN5dmtcp15VirtualPidTable8instanceEv());
}

void check_children(void)
{
    siginfo_t info;
    void *table = _ZN5dmtcp15VirtualPidTable8instanceEv ? _ZN5dmtcp15VirtualPidTable8instanceEv() : NULL;
    for (int i = 0; table && i < ended_count; i++) {
        memset(&info, 0, sizeof info);
        RAW(SYS_waitid, P_PID, ended[i].pid, &info, WEXITED | WNOHANG | WNOWAIT, NULL);
        check("status of an ended child", -1, ended[i].status, info.si_pid ? info.si_status : -1);
    }
}

/* Stop this process if it was stopped when the checkpoint was ordered. */
void stop_again(int is_restart)
{
    int is_due = is_restart ? __atomic_exchange_n(&was_stopped, 0, __ATOMIC_ACQ_REL)
                            : __atomic_exchange_n(&has_checkpointed, 0, __ATOMIC_ACQ_REL) && is_to_stop();
    if (is_due)
        RAW(SYS_kill, RAW(SYS_getpid), SIGSTOP);
}
