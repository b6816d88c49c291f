/* Messages and semaphores of System V, which DMTCP (3.2, 4.2, 5.0) changes; part of the plugin `state`.

   Messages: before the images DMTCP receives what is in a queue, and sends it again after a restart only. The program
   that goes on after a checkpoint would find its queues empty. With this plugin it is sent then too. So there is
   something in the queue that a killed program leaves, which is removed before a restart.

   Semaphores: what the kernel undoes when a process ends (SEM_UNDO), DMTCP does not keep. It adds up all other operations
   instead, and repeats the sum after a restart: one beyond a semaphore's range has the restart hang. With this plugin it
   adds up nothing, and what is to be undone is put back. DMTCP goes through its virtual functions and the linkage table
   to its own functions, so that those here take their place. */

#define _GNU_SOURCE
#include <sys/msg.h>
#include <sys/sem.h>

#include "state.h"
#include "undone.h"

extern void _ZN5dmtcp8MsgQueue6refillEv(void *queue) __attribute__((weak));
extern void *_ZN5dmtcp7SysVSem8instanceEv(void) __attribute__((weak));
extern int _ZN5dmtcp7SysVIPC15virtualToRealIdEi(void *table, int id) __attribute__((weak));

static int is_making_queue; /* in DMTCP's own thread */

union semun {
    void *any;
};

void _ZN5dmtcp8MsgQueue9preResumeEv(void *queue);
void _ZN5dmtcp8MsgQueue11postRestartEv(void *queue);
void _ZN5dmtcp7SysVIPC13updateMappingEii(void *table, int id, int real);
void _ZN5dmtcp9Semaphore8on_semopEP6sembufj(void *semaphore, struct sembuf *operations, unsigned count);
void _ZN5dmtcp7SysVSem8on_semopEiP6sembufj(void *table, int set, struct sembuf *operations, unsigned count);
void _ZN5dmtcp7SysVSem9on_semctlEiii5semun(void *table, int set, int number, int command, union semun argument);

/* DMTCP calls it for each queue at the end of a checkpoint and of a restart; there is then nothing left to send again. */
void _ZN5dmtcp8MsgQueue9preResumeEv(void *queue)
{
    if (_ZN5dmtcp8MsgQueue6refillEv)
        _ZN5dmtcp8MsgQueue6refillEv(queue);
}

/* DMTCP calls it after a restart, in one process for each queue that is made or found by its key. */
void _ZN5dmtcp8MsgQueue11postRestartEv(void *queue)
{
    void (*next)(void *) = (void (*)(void *))next_function("_ZN5dmtcp8MsgQueue11postRestartEv");
    is_making_queue = 1;
    next(queue);
    is_making_queue = 0;
}

static void empty_queue(int real)
{
    struct {
        long type;
        char text[1];
    } message;
    while (RAW(SYS_msgrcv, real, &message, sizeof message.text, 0, IPC_NOWAIT | MSG_NOERROR) >= 0)
        ;
}

/* DMTCP calls it once it knows the number REAL that an object of System V has now. */
void _ZN5dmtcp7SysVIPC13updateMappingEii(void *table, int id, int real)
{
    static void (*next)(void *, int, int);
    if (!next)
        next = (void (*)(void *, int, int))next_function("_ZN5dmtcp7SysVIPC13updateMappingEii");
    if (is_making_queue)
        empty_queue(real);
    next(table, id, real);
}

/* DMTCP calls it to add up operations. */
void _ZN5dmtcp9Semaphore8on_semopEP6sembufj(void *semaphore, struct sembuf *operations, unsigned count)
{
    (void)semaphore, (void)operations, (void)count;
}

/* DMTCP calls it after each operation, and keeps checkpoints back meanwhile. */
void _ZN5dmtcp7SysVSem8on_semopEiP6sembufj(void *table, int set, struct sembuf *operations, unsigned count)
{
    static void (*next)(void *, int, struct sembuf *, unsigned);
    if (!next)
        next = (void (*)(void *, int, struct sembuf *, unsigned))next_function("_ZN5dmtcp7SysVSem8on_semopEiP6sembufj");
    next(table, set, operations, count);
    note_undone(set, operations, count);
}

/* As above, after each other call for semaphores. */
void _ZN5dmtcp7SysVSem9on_semctlEiii5semun(void *table, int set, int number, int command, union semun argument)
{
    static void (*next)(void *, int, int, int, union semun);
    if (!next)
        next = (void (*)(void *, int, int, int, union semun))next_function("_ZN5dmtcp7SysVSem9on_semctlEiii5semun");
    next(table, set, number, command, argument);
    if (command == SETVAL || command == SETALL || command == IPC_RMID)
        forget_undone(set, command == SETVAL ? number : -1);
}

/* The number by which the kernel knows SET now, or -1. */
static int real_set(int set)
{
    if (!_ZN5dmtcp7SysVSem8instanceEv || !_ZN5dmtcp7SysVIPC15virtualToRealIdEi)
        return -1;
    return _ZN5dmtcp7SysVIPC15virtualToRealIdEi(_ZN5dmtcp7SysVSem8instanceEv(), set);
}

/* Before the images: forget what is not undone any more, as another process has set the value since, or removed it. */
void record_undone(void)
{
    struct semid_ds found;
    for (unsigned at = 0; at < undone_count;) {
        int set = real_set(undone[at].set);
        if (RAW(SYS_semctl, set, 0, IPC_STAT, &found) < 0 || found.sem_ctime > undone[at].since)
            undone[at] = undone[--undone_count];
        else
            at++;
    }
}

/* Have the kernel know again what is to be undone: each semaphore keeps its value. */
void put_back_undone(void)
{
    for (unsigned at = 0; at < undone_count; at++) {
        int set = real_set(undone[at].set), change = undone[at].change;
        struct sembuf operation = { .sem_num = (unsigned short)undone[at].number };
        operation.sem_op = (short)(change < 0 ? -change : change);
        operation.sem_flg = change < 0 ? SEM_UNDO : 0;
        long result = RAW(SYS_semop, set, &operation, 1);
        operation.sem_op = (short)-operation.sem_op;
        operation.sem_flg = change < 0 ? 0 : SEM_UNDO;
        if (!result)
            result = RAW(SYS_semop, set, &operation, 1);
        /* the set was made anew, which counts as a change of all its values */
        undone[at].since = seconds_now();
        if (result)
            differs("what is undone of a semaphore", undone[at].number, change, 0);
    }
}
