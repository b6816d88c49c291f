/* What the sources of the plugin `forks` have in common; none of it is seen outside. */

#pragma GCC visibility push(hidden)

#define SHARED_MEMORY "/dev/shm/"
#define LINK_LENGTH 64

/* of dmtcp::WorkerState */
enum { RUNNING = 1, PRESUSPEND = 2, CHECKPOINTING = 4 };

extern volatile int worker_state;

/* Return what NAME is without us. */
void *below(const char *name);

#define FIND(name)                                  \
    static __typeof__(name) *next;                  \
    if (!next)                                      \
        next = (__typeof__(name) *)below(#name)

/* No checkpoint between these two: descriptors that DMTCP does not see are open, and after a restart their numbers are
   others'. */
void hold_checkpoints(void);
void let_checkpoints(void);

/* Called while the other threads, and all other processes, stand still, before anything of them is saved. */
extern void (*before_images)(void);

#pragma GCC visibility pop
