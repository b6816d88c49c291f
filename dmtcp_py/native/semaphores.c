/* Semaphores of System V whose operations the kernel undoes when the process ends (SEM_UNDO); part of the plugin `files`.

   CRIU (4.2.1) does not restore what is to be undone, and the kernel shows it to nobody. While there is something to undo,
   the process has the file `gate` of the journal mapped, which dmtcp_py/engine/criu/inside/refusals.py sees. Under DMTCP
   the plugin `state` puts it back. */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <sys/sem.h>

#include "files.h"
#include "journal.h"
#include "undone.h"

#define MARK_SIZE 4096

static void *mark;
static int running; /* calls that may have something undone */
static volatile int turn;

static void set_mark(void)
{
    find_journal();
    int fd = raw_open(gate_path, O_RDONLY, 0);
    mark = fd < 0 ? NULL : raw_map(MARK_SIZE, PROT_NONE, 0, fd);
    raw_close(fd);
    if (mark)
        RAW(SYS_madvise, mark, MARK_SIZE, MADV_DONTFORK);
}

/* Have CHANGE more calls run that may have something undone; the mark is there before the first one. */
static void count_running(int change)
{
    struct held held;
    hold_signals(&held);
    while (__atomic_exchange_n(&turn, 1, __ATOMIC_ACQUIRE))
        RAW(SYS_sched_yield);
    running += change;
    int is_needed = running || undone_count;
    if (is_needed && !mark)
        set_mark();
    if (!is_needed && mark) {
        RAW(SYS_munmap, mark, MARK_SIZE);
        mark = NULL;
    }
    __atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
    let_signals(&held);
}

static int are_undone(const struct sembuf *operations, size_t count)
{
    int are_found = 0;
    for (size_t i = 0; i < count && !dmtcp_get_ckpt_dir; i++)
        are_found |= operations[i].sem_flg & SEM_UNDO;
    return are_found;
}

int semtimedop(int set, struct sembuf *operations, size_t count, const struct timespec *longest)
{
    FIND(semtimedop);
    if (!operations || !are_undone(operations, count))
        return next(set, operations, count, longest);
    count_running(1);
    int result = next(set, operations, count, longest);
    if (!result)
        note_undone(set, operations, count);
    int kept = errno;
    count_running(-1);
    errno = kept;
    return result;
}

int semop(int set, struct sembuf *operations, size_t count)
{
    FIND(semop);
    if (!operations || !are_undone(operations, count))
        return next(set, operations, count);
    return semtimedop(set, operations, count, NULL);
}

int semctl(int set, int number, int command, ...)
{
    FIND(semctl);
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    int result = next(set, number, command, argument);
    if (result < 0 || dmtcp_get_ckpt_dir || (command != SETVAL && command != SETALL && command != IPC_RMID))
        return result;
    forget_undone(set, command == SETVAL ? number : -1);
    if (mark)
        count_running(0);
    return result;
}

static void forget_in_child(void)
{
    forget_all_undone();
    mark = NULL;
    running = 0;
    turn = 0;
}

__attribute__((constructor)) static void forget_in_children(void)
{
    if (!dmtcp_get_ckpt_dir)
        pthread_atfork(NULL, NULL, forget_in_child);
}
