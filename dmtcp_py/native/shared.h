/* What the sources of the plugin `shared` have in common. */

#include "plugin.h"

#pragma GCC visibility push(hidden)

#define LINK_LENGTH 64

/* Wait for all processes of the computation on this node. */
void await_others(const char *what);
/* Leave a message, and end the process: its image would be wrong, or it would go on with something wrong. */
void end_because(const char *what) __attribute__((noreturn));
/* Write the path of a file with the name PREFIX and NUMBER that all processes see. */
void name_in_common(char *path, size_t size, const char *prefix, unsigned long long number);
/* Make it, empty; return whether there was none. */
int mark(const char *prefix, unsigned long long number);
int is_marked(const char *prefix, unsigned long long number);
/* Make it a symbolic link by which other processes open descriptor FD of this one. */
void publish(const char *path, int fd);
void unlink_in_common(const char *prefix, unsigned long long number);
int real_pid(void);

/* pipes.c */
extern int are_pipes_kept;
/* Whether descriptor FD is an end of a pipe without a name, which FOUND then describes. */
int is_pipe(int fd, struct stat *found);
/* The same for one that may have a name. */
int is_fifo(int fd, struct stat *found);
void forget_opened_pipe(int event, void *data);
/* Whether the pipes and queues that the program makes from now on are kept here. */
int keeps_pipes(void);

/* queues.c: POSIX message queues. */
struct queue;
struct request;
int is_queue(int fd, struct stat *found);
struct queue *record_queue(int fd);
int make_queue(const struct queue *queue);
void finish_queue(int both, const struct queue *queue);
void free_queue(struct queue *queue);
struct request *take_request(int fd, const struct stat *found);
void make_request(int fd, struct request *request);

/* pipe_ends.c: the ends of pipes that this process has open. A queue is treated as a pipe in all that does not name it. */
void note_outer_pipes(void);
void record_pipes(void);
void forget_pipes(void);
void restore_pipes(void);

/* pipe_content.c: what is in a pipe. A process that records or restores it can both read and write the pipe by BOTH. */
struct content {
    char *data;
    int size, capacity;
    int is_packets; /* whether a read returns what one write has written (O_DIRECT) */
    unsigned short *packets; /* their sizes */
    int packet_count;
};
void record_content(int both, struct content *content);
void free_content(struct content *content);
/* Open the pipe at PATH with ACCESS and all other FLAGS of a description. */
int open_pipe(const char *path, int access, int flags);
/* Open the pipe that descriptor FD leads to for reading and writing. */
int open_both(int fd);
/* Make a pipe with CONTENT, and return a descriptor for reading and writing. */
int make_pipe(const struct content *content);

/* shared_memory.c: anonymous memory that processes share. */
void record_shared_memory(void);
void restore_shared_memory(void);
void forget_shared_memory(void);

/* thread_number.c: called at each event. */
void keep_thread_number(int event);

#pragma GCC visibility pop
