/* Pipes of the program that stay pipes; loaded into programs by DMTCP as a plugin (3.2, 4.2, 5.0).

   DMTCP makes a pair of sockets of each pipe. A script sees that: a socket cannot be opened by the name of its
   descriptor (/dev/fd/63, /dev/stdin), `[ -p /dev/stdin ]` is false, F_SETPIPE_SZ fails, and less or more fits into it.
   DMTCP also loses what is in a pipe whose other end is closed, for all but one of the processes that can read it.

   With this plugin pipe() makes a pipe, which DMTCP does not know. Before the images, one of its processes reads what is
   in a pipe, and writes it back; after a restart, that process makes a new pipe with the same content, and the others
   open it (pipe_ends.c). So also pipes are kept that were not made by a call that DMTCP sees. */

#define _GNU_SOURCE
#include <gnu/lib-names.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "files.h"
#include "pipes.h"

enum { BEGIN = 0, AFTER_EXEC = 3, BEFORE_IMAGES = 16, AFTER_IMAGES = 17, AFTER_RESTART = 18, FILE_IS_OPEN = 21 };

#define PIPE_LINK "pipe:["
#define DMTCPS_FILES "file" /* the plugin of DMTCP that restores files */

/* DmtcpPluginDescriptor_t, which is passed by value */
struct plugin {
    const char *api, *version, *name, *author, *email, *text;
    void (*hook)(int event, void *data);
};

void dmtcp_register_plugin(struct plugin);
void dmtcp_initialize_entry_point(void) __attribute__((weak));
const char *dmtcp_get_tmpdir(void) __attribute__((weak));
void dmtcp_local_barrier(const char *barrier) __attribute__((weak));

static int is_registered;

int is_pipe(int fd, struct stat *found)
{
    char path[LINK_LENGTH], link[LINK_LENGTH];
    if (raw_stat(fd, "", AT_EMPTY_PATH, found) || !S_ISFIFO(found->st_mode))
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return raw_link_text(path, link, sizeof link) > 0 && !strncmp(link, PIPE_LINK, strlen(PIPE_LINK));
}

void await_others(const char *what)
{
    dmtcp_local_barrier(what);
}

void name_in_common(char *path, size_t size, const char *prefix, unsigned long long number)
{
    snprintf(path, size, "%s/%s.%llu", dmtcp_get_tmpdir(), prefix, number);
}

void end_because(const char *what)
{
    char path[PATH_MAX], text[256];
    snprintf(path, sizeof path, "%s/pipes.log", dmtcp_get_tmpdir());
    int file = raw_open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    RAW(SYS_write, file, text, snprintf(text, sizeof text, "*** ERROR: %s\n", what));
    RAW(SYS_exit_group, EXIT_FAILURE);
    __builtin_unreachable();
}

/* What of these a process does, all do, because they wait for each other. */
static void on_event(int event, void *data)
{
    static int is_from_exec;
    (void)data;
    if (event == AFTER_EXEC) {
        is_from_exec = 1;
    } else if (event == BEGIN && !is_from_exec) {
        note_outer_pipes();
    } else if (event == BEFORE_IMAGES) {
        record_pipes();
    } else if (event == AFTER_IMAGES) {
        forget_pipes();
    } else if (event == AFTER_RESTART) {
        note_outer_pipes();
        restore_pipes();
        forget_pipes();
    }
}

/* Have DMTCP forget a pipe that was opened by the name of a descriptor, which it treats as a FIFO with a name. It does
   when a descriptor that it does not know takes the place of one that it knows. */
static void on_open(int event, void *data)
{
    struct stat found;
    if (event != FILE_IS_OPEN || !is_pipe(*(int *)data, &found))
        return;
    int fd = *(int *)data, saved = errno;
    int flags = (int)RAW(SYS_fcntl, fd, F_GETFD);
    int unknown = (int)RAW(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
    if (unknown >= 0)
        dup3(unknown, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
    raw_close(unknown);
    errno = saved;
}

/* DMTCP calls plugins in the order of their registration before the images, and the other way round after a restart.
   There, the program's first three descriptors are what DMTCP was restarted with until files are restored, and what
   polls descriptors is restored after them: so this plugin comes between. Both are told of each opened file in the
   first order; on_open() comes after DMTCP's. A later interface may have other numbers of events. */
void dmtcp_register_plugin(struct plugin one)
{
    FIND(dmtcp_register_plugin);
    int is_known = one.api && (!strcmp(one.api, "3") || !strcmp(one.api, "4"));
    struct plugin self = { one.api, "1", "pipes", "dmtcp-py", "-", "keeps pipes", on_event };
    if (strcasecmp(one.name, DMTCPS_FILES) || !is_known || !dmtcp_get_tmpdir || !dmtcp_local_barrier) {
        next(one);
        return;
    }
    next(self);
    next(one);
    self.hook = on_open;
    next(self);
    is_registered = 1;
}

/* Return the C library's pipe2(): a system call by its number would come back here. */
static __typeof__(pipe2) *kernels(void)
{
    static __typeof__(pipe2) *found;
    if (!found)
        found = (__typeof__(pipe2) *)dlsym(dlopen(LIBC_SO, RTLD_LAZY | RTLD_NOLOAD), "pipe2");
    return found;
}

int pipe2(int fds[2], int flags)
{
    FIND(pipe2);
    if (!is_registered && dmtcp_initialize_entry_point)
        dmtcp_initialize_entry_point();
    return is_registered ? kernels()(fds, flags) : next(fds, flags);
}

int pipe(int fds[2])
{
    return pipe2(fds, 0);
}
