/* What the processes of a computation share, and DMTCP (3.2, 4.2, 5.0) does not restore: pipes (pipes.c), message queues
   (queues.c) and anonymous memory (shared_memory.c), with the locks in it (thread_number.c); loaded into programs by
   DMTCP as a plugin.

   The processes wait for each other in it, as often as this version of it does: another number needs another name of the
   plugin, or a program that was resumed with an older version could not be checkpointed after an exec. */

#define _GNU_SOURCE
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "files.h"
#include "shared.h"

#define DMTCPS_FILES "file" /* the plugin of DMTCP that restores files */

void dmtcp_register_plugin(struct plugin);
const char *dmtcp_get_tmpdir(void) __attribute__((weak));
void dmtcp_local_barrier(const char *barrier) __attribute__((weak));

void await_others(const char *what)
{
    dmtcp_local_barrier(what);
}

void name_in_common(char *path, size_t size, const char *prefix, unsigned long long number)
{
    snprintf(path, size, "%s/%s.%llu", dmtcp_get_tmpdir(), prefix, number);
}

int mark(const char *prefix, unsigned long long number)
{
    char path[PATH_MAX];
    name_in_common(path, sizeof path, prefix, number);
    int made = raw_open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    raw_close(made);
    return made >= 0;
}

int is_marked(const char *prefix, unsigned long long number)
{
    char path[PATH_MAX];
    struct stat found;
    name_in_common(path, sizeof path, prefix, number);
    return !raw_stat(AT_FDCWD, path, 0, &found);
}

void unlink_in_common(const char *prefix, unsigned long long number)
{
    char path[PATH_MAX];
    name_in_common(path, sizeof path, prefix, number);
    RAW(SYS_unlinkat, AT_FDCWD, path, 0);
}

int real_pid(void)
{
    char text[LINK_LENGTH];
    return raw_link_text("/proc/self", text, sizeof text) > 0 ? atoi(text) : 0;
}

void publish(const char *path, int fd)
{
    char target[LINK_LENGTH];
    snprintf(target, sizeof target, "/proc/%d/fd/%d", real_pid(), fd);
    if (RAW(SYS_symlinkat, target, AT_FDCWD, path))
        end_because("something that processes share cannot be passed to them");
}

void end_because(const char *what)
{
    char path[PATH_MAX], text[256];
    snprintf(path, sizeof path, "%s/shared.log", dmtcp_get_tmpdir());
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
    keep_thread_number(event);
    if (event == AFTER_EXEC) {
        is_from_exec = 1;
    } else if (event == BEGIN && !is_from_exec) {
        note_outer_pipes();
    } else if (event == BEFORE_IMAGES) {
        record_pipes();
        record_shared_memory();
    } else if (event == AFTER_IMAGES) {
        forget_pipes();
        forget_shared_memory();
    } else if (event == AFTER_RESTART) {
        note_outer_pipes();
        restore_pipes();
        forget_pipes();
        restore_shared_memory();
        forget_shared_memory();
    }
}

/* DMTCP calls plugins in the order of their registration before the images, and the other way round after a restart.
   There, the program's first three descriptors are what DMTCP was restarted with until files are restored, and what
   polls descriptors is restored after them: so this plugin comes between. Both are told of each opened file in the
   first order; forget_opened_pipe() comes after DMTCP's. A later interface may have other numbers of events. */
void dmtcp_register_plugin(struct plugin one)
{
    FIND(dmtcp_register_plugin);
    int is_known = one.api && (!strcmp(one.api, "3") || !strcmp(one.api, "4"));
    struct plugin self = { one.api, "1", "shared", "dmtcp-py", "-", "keeps what processes share", on_event };
    if (strcasecmp(one.name, DMTCPS_FILES) || !is_known || !dmtcp_get_tmpdir || !dmtcp_local_barrier) {
        next(one);
        return;
    }
    next(self);
    next(one);
    self.hook = forget_opened_pipe;
    next(self);
    are_pipes_kept = 1;
}
