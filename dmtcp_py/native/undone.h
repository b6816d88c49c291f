/* What the kernel adds to semaphores of System V when this process ends (SEM_UNDO), which it shows to nobody. */

#pragma once

#include <sys/sem.h>
#include <time.h>

#pragma GCC visibility push(hidden)

struct undone {
    int set, number, change;
    time_t since; /* when it last changed */
};

extern struct undone undone[];
extern unsigned undone_count;

time_t seconds_now(void);

void note_undone(int set, const struct sembuf *operations, size_t count);

/* Nothing of SET is to be undone any more, or of its semaphore NUMBER if that is not negative. */
void forget_undone(int set, int number);

/* In a child, which has nothing to undo of what its parent did. */
void forget_all_undone(void);

#pragma GCC visibility pop
