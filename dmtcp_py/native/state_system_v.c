/* Messages, semaphores and memory of System V, which DMTCP (3.2, 4.2, 5.0) changes; part of the plugin `state`.

   Messages: before the images DMTCP receives what is in a queue, and sends it again after a restart only. The program
   that goes on after a checkpoint would find its queues empty. With this plugin it is sent then too. So there is
   something in the queue that a killed program leaves, which is removed before a restart.

   Semaphores: what the kernel undoes when a process ends (SEM_UNDO), DMTCP does not keep. It adds up all other operations
   instead, and repeats the sum after a restart: one beyond a semaphore's range has the restart hang. With this plugin it
   adds up nothing, and what is to be undone is put back.

   Memory: after a restart one of the processes makes a segment anew, with the number of the process as its key. Where it
   makes another one, that is the same segment, and what the program makes with IPC_PRIVATE later is the same too. With
   this plugin each gets a key that is free, or none if it had none.

   An object that was made with IPC_EXCL: it is still there when DMTCP makes it again with the same flags, which fails.

   An object that the program asks for once more by its key: up to 4.2 DMTCP ends the program, as it looks for the kernel's
   number where it keeps its own.

   DMTCP goes through its virtual functions and the linkage table to its own functions, so that those here take their
   place. */

#define _GNU_SOURCE
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "state.h"
#include "undone.h"

extern void _ZN5dmtcp8MsgQueue6refillEv(void *queue) __attribute__((weak));
extern void *_ZN5dmtcp7SysVSem8instanceEv(void) __attribute__((weak));
extern void *_ZN5dmtcp7SysVMsq8instanceEv(void) __attribute__((weak));
extern void *_ZN5dmtcp7SysVShm8instanceEv(void) __attribute__((weak));
extern int _ZN5dmtcp7SysVIPC15virtualToRealIdEi(void *table, int id) __attribute__((weak));
extern int _ZN5dmtcp7SysVIPC15realToVirtualIdEi(void *table, int real) __attribute__((weak));

#define FIRST_KEY 0x40000000 /* above the numbers of processes */
#define LAST_KEY 0x7fffffff
#define KEY_STEP 0x400000 /* as many as there are numbers of processes */

/* SysVObj in DMTCP's src/plugin/svipc/sysvipc.h (3.2, 4.2, 5.0) */
struct object {
    void *functions;
    int id, real; /* the program's number, and the kernel's */
    key_t key;
    int flags;
};

/* in DMTCP's own thread */
static int is_making_queue;
static struct object *segment; /* which is made, or NULL */
static key_t key_of_segment;
static int foreign_segment; /* which has the key that DMTCP uses, or minus errno */

union semun {
    void *any;
};

void _ZN5dmtcp8MsgQueue9preResumeEv(void *queue);
void _ZN5dmtcp8MsgQueue11postRestartEv(void *queue);
void _ZN5dmtcp9Semaphore11postRestartEv(void *set);
void _ZN5dmtcp7SysVMsq9on_msggetEiii(void *table, int real, int key, int flags);
void _ZN5dmtcp7SysVShm9on_shmgetEiiimi(void *table, int real, int real_key, int key, size_t size, int flags);
void _ZN5dmtcp10ShmSegment11postRestartEv(void *made);
void _ZN5dmtcp10ShmSegment6refillEv(void *made);
void _ZN5dmtcp7SysVShm16updateKeyMappingEii(void *table, int key, int real);
void _ZN5dmtcp7SysVIPC13updateMappingEii(void *table, int id, int real);
void _ZN5dmtcp9Semaphore8on_semopEP6sembufj(void *semaphore, struct sembuf *operations, unsigned count);
void _ZN5dmtcp7SysVSem8on_semopEiP6sembufj(void *table, int set, struct sembuf *operations, unsigned count);
void _ZN5dmtcp7SysVSem9on_semctlEiii5semun(void *table, int set, int number, int command, union semun argument);

/* DMTCP calls it for each queue at the end of a checkpoint and of a restart; there is then nothing left to send again.
   Only the process that makes a queue again gives it the kernel's number. */
void _ZN5dmtcp8MsgQueue9preResumeEv(void *queue)
{
    struct object *object = queue;
    if (_ZN5dmtcp7SysVMsq8instanceEv && _ZN5dmtcp7SysVIPC15virtualToRealIdEi)
        object->real = _ZN5dmtcp7SysVIPC15virtualToRealIdEi(_ZN5dmtcp7SysVMsq8instanceEv(), object->id);
    if (_ZN5dmtcp8MsgQueue6refillEv)
        _ZN5dmtcp8MsgQueue6refillEv(queue);
}

/* Have OBJECT found by its key, or made again, by DMTCP's function NAME. */
static void find_or_make(struct object *object, const char *name)
{
    void (*next)(void *) = (void (*)(void *))next_function(name);
    object->flags = (object->flags & ~IPC_EXCL) | IPC_CREAT;
    next(object);
}

/* DMTCP calls it after a restart for each queue, as the next ones for each set of semaphores and each segment: one of the
   processes finds it or makes it. */
void _ZN5dmtcp8MsgQueue11postRestartEv(void *queue)
{
    is_making_queue = 1;
    find_or_make(queue, "_ZN5dmtcp8MsgQueue11postRestartEv");
    is_making_queue = 0;
}

void _ZN5dmtcp9Semaphore11postRestartEv(void *set)
{
    find_or_make(set, "_ZN5dmtcp9Semaphore11postRestartEv");
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

/* Make a segment like REAL for `segment`, with a key that is free, or with none as it had; return its number. */
static int make_segment(int real)
{
    struct shmid_ds found;
    int flags = IPC_CREAT | IPC_EXCL, made = -EINVAL;
    key_of_segment = segment->key == IPC_PRIVATE ? IPC_PRIVATE : FIRST_KEY | (key_t)RAW(SYS_getpid);
    if (!RAW(SYS_shmctl, real, IPC_STAT, &found))
        while ((made = (int)RAW(SYS_shmget, key_of_segment, found.shm_segsz, flags | (found.shm_perm.mode & ALLPERMS)))
               == -EEXIST && key_of_segment <= LAST_KEY - KEY_STEP)
            key_of_segment += KEY_STEP;
    if (made < 0)
        differs("System V memory", segment->id, 0, made);
    if (real != foreign_segment)
        RAW(SYS_shmctl, real, IPC_RMID, NULL);
    return made;
}

void _ZN5dmtcp10ShmSegment11postRestartEv(void *made)
{
    segment = made;
    foreign_segment = (int)RAW(SYS_shmget, RAW(SYS_getpid), 0, 0);
    find_or_make(made, "_ZN5dmtcp10ShmSegment11postRestartEv");
    segment = NULL;
}

/* DMTCP calls it once it knows the number REAL that an object of System V has now. */
void _ZN5dmtcp7SysVIPC13updateMappingEii(void *table, int id, int real)
{
    static void (*next)(void *, int, int);
    if (!next)
        next = (void (*)(void *, int, int))next_function("_ZN5dmtcp7SysVIPC13updateMappingEii");
    if (is_making_queue)
        empty_queue(real);
    if (segment)
        segment->real = real = make_segment(real);
    next(table, id, real);
}

/* DMTCP calls it once it knows the key REAL that a segment has now. */
void _ZN5dmtcp7SysVShm16updateKeyMappingEii(void *table, int key, int real)
{
    static void (*next)(void *, int, int);
    if (!next)
        next = (void (*)(void *, int, int))next_function("_ZN5dmtcp7SysVShm16updateKeyMappingEii");
    next(table, key, segment ? key_of_segment : real);
}

/* DMTCP calls it in each process once all segments are made; the others have to find a segment by its key, too. */
void _ZN5dmtcp10ShmSegment6refillEv(void *made)
{
    void (*next)(void *) = (void (*)(void *))next_function("_ZN5dmtcp10ShmSegment6refillEv");
    struct object *object = made;
    struct shmid_ds found;
    next(made);
    if (_ZN5dmtcp7SysVShm8instanceEv && !RAW(SYS_shmctl, object->real, IPC_STAT, &found))
        _ZN5dmtcp7SysVShm16updateKeyMappingEii(_ZN5dmtcp7SysVShm8instanceEv(), object->key, found.shm_perm.__key);
}

static int is_known(void *table, int real)
{
    return _ZN5dmtcp7SysVIPC15realToVirtualIdEi && _ZN5dmtcp7SysVIPC15realToVirtualIdEi(table, real) != -1;
}

/* DMTCP calls it after each msgget(). */
void _ZN5dmtcp7SysVMsq9on_msggetEiii(void *table, int real, int key, int flags)
{
    static void (*next)(void *, int, int, int);
    if (!next)
        next = (void (*)(void *, int, int, int))next_function("_ZN5dmtcp7SysVMsq9on_msggetEiii");
    if (!is_known(table, real))
        next(table, real, key, flags);
}

/* The same for shmget(). 3.2 also finds a segment again that was to be a new one: it ends the program. */
void _ZN5dmtcp7SysVShm9on_shmgetEiiimi(void *table, int real, int real_key, int key, size_t size, int flags)
{
    static void (*next)(void *, int, int, int, size_t, int);
    if (!next)
        next = (void (*)(void *, int, int, int, size_t, int))next_function("_ZN5dmtcp7SysVShm9on_shmgetEiiimi");
    if (key == IPC_PRIVATE || !is_known(table, real))
        next(table, real, real_key, key, size, flags);
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
