/* What the sources of the plugin `state` have in common: what DMTCP forgets of a process, recorded before the image and
   put back after the restart.

   All of it uses system calls only, past the wrappers of DMTCP: pids and signals here are the kernel's. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw.h"

extern const char *dmtcp_get_tmpdir(void) __attribute__((weak));
extern int dmtcp_get_ckpt_signal(void) __attribute__((weak));
extern int dmtcp_is_protected_fd(int fd) __attribute__((weak));
extern int dmtcp_real_to_virtual_pid(int pid) __attribute__((weak)); /* 3.2, 4.2 */
extern int dmtcp_pid_real_to_virtual(int pid) __attribute__((weak)); /* 5.0 */

#pragma GCC visibility push(hidden)

/* state_events.c: whether threads are being suspended for a checkpoint. */
extern volatile int is_suspending;
void *next_function(const char *name);
int is_dmtcps(uintptr_t caller); /* whether an address is in DMTCP's library */

/* state_process.c: what all threads share. */
extern int folder_being_read;
void each_entry(const char *path, void (*look)(int number)); /* of a folder of numbers */
void check_process(void);
void record_process(void);
void go_on_with_timers(void);
void put_back_process(void);

/* state_settings.c: settings of a process that are set by one call each. */
void record_settings(void);
void put_back_settings(void);
void check_settings(void);

/* state_names.c: command line, environment and executable in /proc. */
void record_names(void);
void put_back_names(void);

/* state_threads.c: what each thread has for itself; called in that thread. */
void forget_threads(void);
void record_thread(void);
void list_threads(void);
void put_back_thread(void);
void read_inherited_cpus(void);
void note_checkpoint_thread(void);
int is_checkpoint_thread(void);

/* state_signals.c: real-time signals that wait to be delivered, with their values. */
void forget_queued(void);
void take_queued(const void *thread);
void put_back_queued(int is_restart);
void put_back_queued_of(const void *thread);

/* state_memory.c: advice and locks on memory. */
void record_memory(void);
void put_back_memory(void);
void check_memory(void);
void list_memory(void);

/* state_children.c: children that have ended and were not waited for, and processes that are stopped. */
void record_children(void);
void put_back_children(void);
void check_children(void);
void stop_again(int is_restart);

/* state_clocks.c: the processor's time that was used. */
void find_clocks(void);
void record_clocks(void);
void record_clocks_of_thread(void);
void put_back_clocks(void);
void put_back_clocks_of_thread(void);
void forget_clocks(void);

/* state_deleted.c: whether DMTCP is told other names of files that have none. */
void tell_other_names(int is_on);

/* state_numbers.c: the numbers of children that have ended. */
void forget_numbers(void);
void note_number(int number);

/* state_guards.c: pages that must not be touched. */
void remove_guards(void);
void install_guards(void);

/* state_locks.c: locks on files. */
void record_locks(void);
void put_back_locks(void);
void check_locks(void);

/* state_descriptors.c: open descriptors. */
void record_descriptors(void);
void put_back_descriptors(void);
void open_own_descriptors(void);
void check_descriptors(void);

/* state_listeners.c: TCP sockets that listen. */
void find_restore(void);
void forget_listeners(void);
void record_listener(int fd);
void put_back_listener(int fd);
void check_listener(int fd);

/* state_sockets.c: options of sockets. */
void forget_sockets(void);
void record_socket(int fd);
void put_back_sockets(void);
void check_sockets(void);

/* state_reserved.c: the numbers of descriptors that DMTCP keeps for itself. */
void reserve_numbers(void);
void send_at_once(void);

/* state_system_v.c: messages, and what the kernel undoes of semaphores at the end of a process. */
void record_undone(void);
void put_back_undone(void);

/* state_audit.c: what is written down before the image, and the comparison after a restart. */
void begin_count(void);
void count_thread(void);
void begin_audit(void);
void check(const char *what, int number, long was, long is);
void record_number(const char *what, int number, long value);
void record_text(const char *what, const char *value);
void differs(const char *what, int number, long was, long is);
void audit_shared(void);
void audit(int is_checkpoint_thread);

/* Return the file NAME in the temporary folder of dmtcp-run, open for reading, or minus errno. */
int open_ours(const char *name);

#pragma GCC visibility pop

/* A file that is read line by line without malloc(); lines longer than the buffer are cut. */
struct lines {
    int fd;
    size_t at, end;
    char text[4096];
};

static inline int next_line(struct lines *from, char *line, size_t size)
{
    size_t length = 0;
    for (;;) {
        if (from->at == from->end) {
            long got = RAW(SYS_read, from->fd, from->text, sizeof from->text);
            if (got <= 0)
                return length > 0 ? (line[length] = 0, 1) : 0;
            from->at = 0;
            from->end = (size_t)got;
        }
        char one = from->text[from->at++];
        if (one == '\n')
            return line[length] = 0, 1;
        if (length + 1 < size)
            line[length++] = one;
    }
}
