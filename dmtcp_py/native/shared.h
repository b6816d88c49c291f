/* What the sources of the plugin `pipes` have in common. */

#pragma GCC visibility push(hidden)

#define LINK_LENGTH 64

/* pipes.c: whether descriptor FD is an end of a pipe without a name, which FOUND then describes. */
int is_pipe(int fd, struct stat *found);
/* Wait for all processes of the computation on this node. */
void await_others(const char *what);
/* Leave a message, and end the process: its image would be wrong, or it would go on with a wrong pipe. */
void end_because(const char *what) __attribute__((noreturn));
/* Write the path of a file with the name PREFIX and NUMBER that all processes see. */
void name_in_common(char *path, size_t size, const char *prefix, unsigned long long number);

/* pipe_ends.c: the ends of pipes that this process has open. */
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
void write_content(int both, const struct content *content);
void free_content(struct content *content);

#pragma GCC visibility pop
