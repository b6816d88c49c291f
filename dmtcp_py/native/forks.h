/* What the sources of the plugin `forks` have in common; none of it is exported. */

#include <stdbool.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

#define SHARED_MEMORY "/dev/shm/"
#define LINK_LENGTH 64

/* of dmtcp::WorkerState */
enum { RUNNING = 1, PRESUSPEND = 2, CHECKPOINTING = 4 };

extern volatile int worker_state;

/* Return the function NAME of the next library, which ours stands before. */
void *below(const char *name);

#define FIND(name)                                  \
    static __typeof__(name) *next;                  \
    if (!next)                                      \
        next = (__typeof__(name) *)below(#name)

/* The same, but unlike below(), this finds those of DMTCP's parts and of the plugins after this one. */
void *after(const char *name);

#define FIND_AFTER(name)                       \
    static __typeof__(name) *next;             \
    if (!next)                                 \
        next = (__typeof__(name) *)after(#name)

/* waits.c: the number by which the kernel knows a process, and the one by which the program does. */
pid_t kernels_number(pid_t pid);
pid_t programs_number(pid_t pid);

/* No checkpoint between these two: descriptors are open that DMTCP does not see, and after a restart their numbers
   would belong to other files. */
void hold_checkpoints(void);
void let_checkpoints(void);

/* Wait while the file NAME exists in the folder of the computation (engine/dmtcp/workspace.py). */
void await_removal(const char *name);

/* Called while all other threads and processes are suspended, before any image is written. */
extern void (*before_images)(void);

#pragma GCC visibility pop
