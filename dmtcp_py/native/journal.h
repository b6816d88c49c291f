/* The journal: what the program does to files by name, recorded before it is done, so that a resume can undo it.

   The folder of the journal has a link `now` to the part that began with the last checkpoint: a list of entries, and
   copies. Before the first change of a file in a part its state is recorded: that it did not exist; its size, if it is
   only appended to; a copy for anything else, or of a large file, what is overwritten (ranges.c). An entry is written once a part for each file (known by its inode) and
   for each name (known by its folder's inode). If an entry cannot be written, the path is written to `lost`, and the
   part cannot be undone. dmtcp_py/rollback/journal.py reads all this and documents the format;
   dmtcp_py/rollback/parts.py lists what else is in the folder. */

#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>

#define LINE (2 * PATH_MAX + 256) /* it also has parts of folders */
#define PART 32 /* characters of a part's name */
#define COPY_NAME 64
#define MOST_COPIED (64L << 20) /* of larger files, what is overwritten is kept */
#define MOST_KEPT (4L << 30)    /* of all of them in a part */

#pragma GCC visibility push(hidden)

/* --- gate.c: no checkpoint and no signal between an entry and the change that it announces --- */

enum { NOT_HELD = -1, BY_DMTCP = -2 };

struct held {
    int how;       /* a descriptor of the gate, or one of the two above */
    int is_made;   /* the call that is made meanwhile makes the file */
    int cancel;    /* how the thread answered pthread_cancel() before */
    sigset_t mask; /* the thread's signal mask before */
};

void hold(struct held *held);
void release(const struct held *held);
void hold_signals(struct held *held);
void let_signals(const struct held *held);

/* --- journal.c: the folder, its parts, and entries --- */

extern char job_folder[PATH_MAX];     /* what is in it does not belong to the program */
extern char journal_folder[PATH_MAX]; /* empty: nothing is recorded */
extern char now_path[PATH_MAX], next_path[PATH_MAX], hold_path[PATH_MAX], gate_path[PATH_MAX], shut_path[PATH_MAX],
    lost_path[PATH_MAX];

extern int is_memory_recorded; /* what is done in /dev/shm: not if the program has its own, in its images */

/* What file_events.c knows from DMTCP's events. */
extern volatile int is_journal_known;  /* 0: look for its folder again */
extern volatile int is_suspended;      /* a checkpoint is being taken: nothing is recorded */
extern volatile int has_events;        /* events announce each new part */
extern volatile unsigned current_part; /* its number, if events announce the next one; 0: look */

/* Long names, off the stack, because the stacks of threads may be small. */
struct buffers {
    char name[PATH_MAX], real[PATH_MAX], other[PATH_MAX];
    char line[LINE] __attribute__((aligned(8)));
};

struct entry {
    char kind;                /* see dmtcp_py/rollback/journal.py */
    struct stat *found;       /* what the file was */
    uint64_t name, content;   /* keys of what the entry says; 0 for none */
    const char *copy;         /* a name in the part, or "-" */
    const char *path;
};

enum { APPENDED = 1, CHANGED = 2, NAMED = 3, FIRST_BLOCK = 16 }; /* what is known of a file; a key tells them apart */

void find_journal(void);
unsigned find_part(void);
int open_part(unsigned part);
int open_in_part(unsigned part, const char *name, int flags);
struct buffers *borrow_buffers(void);
void return_buffers(struct buffers *buffers);
int append_entry(unsigned part, struct buffers *buffers, const struct entry *entry);
void write_entry(unsigned part, struct buffers *buffers, const struct entry *entry);
void lose(const char *path);
int may_grow_to(off_t size);

/* --- keys.c --- */

uint64_t key_of(const struct stat *found, uint64_t what, const char *name);
int is_recorded(uint64_t key, unsigned part);
void remember(uint64_t key, unsigned part);
uint32_t check_of(const char *data, size_t size, uint32_t before);

/* --- copies.c --- */

int has_room(const char *folder, off_t size);
int keep_copy(unsigned part, struct buffers *buffers, const struct stat *found, int is_moved, char name[COPY_NAME]);

/* --- other_names.c --- */

int find_second_name(struct buffers *buffers, const struct stat *found);

/* --- ranges.c --- */

void keep_range(unsigned part, struct buffers *buffers, struct stat *found, off_t from, off_t to);
extern int are_streams_watched; /* streams.c */

/* --- names.c: what a path leads to --- */

#define IN_MEMORY "/dev/shm/"

int is_in_memory(const char *path);
int is_not_the_programs(const char *path);
int find_real_name(int dir, const char *path, char *real);
uint64_t key_of_name(const char *real, char *folder);

#pragma GCC visibility pop
