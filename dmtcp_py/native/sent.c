/* Descriptors that processes send each other over Unix sockets, which DMTCP (3.2, 4.2, 5.0) does not see; part of the
   plugin `forks`.

   A received descriptor is closed after a restart, unless it leads to a pipe (pipes.c). It is noted in a file in memory with the name of RECEIVED, and
   checkpoints are refused because of it (engine/dmtcp/passed_descriptors.py).

   A message that is on its way at a checkpoint arrives without its descriptors, even if the program merely runs on. No
   descriptor is sent while the file HOLD exists: the supervisor makes it before it looks for messages on their way, and
   removes it when the checkpoint ends (engine/dmtcp/safe_moment.py). If another program orders a checkpoint meanwhile,
   a process that would lose a descriptor ends instead. */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "forks.h"

#define RECEIVED "dmtcp-run: received"
#define PIPE "pipe:"
#define MOST_NOTES (1 << 20)
#define LOWEST_NOTES 512
#define HOLD "hold-sending"
#define ON_THEIR_WAY "scm_fds:"
#define TEXT_LENGTH 256
#define BLOCK 4096

static bool link_of(int fd, char *link, size_t size)
{
    char name[LINK_LENGTH];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, name, link, size - 1);
    if (length < 0)
        return false;
    link[length] = 0;
    return true;
}

/* Note that FD came from another process: its number, how it is open, its target, and a NUL. Notes end after the first
   shared memory, or after MOST_NOTES bytes: either prevents checkpoints for good. A child shares the notes; after a
   restart their descriptor may be another file's. Its number is high, because programs close a descriptor and expect
   its number for the next one. */
static void note(int fd)
{
    static int notes = -1;
    static bool has_memory;
    char link[PATH_MAX], line[PATH_MAX + LINK_LENGTH];
    if (notes < 0 || !link_of(notes, link, sizeof link) || !strstr(link, RECEIVED)) {
        int low = (int)syscall(SYS_memfd_create, RECEIVED, 0);
        notes = (int)syscall(SYS_fcntl, low, F_DUPFD, LOWEST_NOTES);
        if (notes < 0)
            notes = low;
        else
            syscall(SYS_close, low);
        has_memory = false;
    }
    if (has_memory || syscall(SYS_lseek, notes, 0, SEEK_CUR) >= MOST_NOTES || !link_of(fd, link, sizeof link) ||
        !strncmp(link, PIPE, strlen(PIPE)))
        return;
    has_memory = !strncmp(link, SHARED_MEMORY, strlen(SHARED_MEMORY));
    int access = (int)syscall(SYS_fcntl, fd, F_GETFL) & O_ACCMODE;
    syscall(SYS_write, notes, line, snprintf(line, sizeof line, "%d %d %s", fd, access, link) + 1);
}

/* Return the part of MESSAGE with descriptors that follows PART, or the first one if PART is NULL. */
static struct cmsghdr *next_with_descriptors(struct msghdr *message, struct cmsghdr *part)
{
    do
        part = part ? CMSG_NXTHDR(message, part) : CMSG_FIRSTHDR(message);
    while (part && (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS));
    return part;
}

static void note_all(struct msghdr *message)
{
    int saved = errno;
    struct cmsghdr *part = NULL;
    while ((part = next_with_descriptors(message, part))) {
        hold_checkpoints();
        for (size_t i = 0; i < (part->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
            note(((int *)CMSG_DATA(part))[i]);
        let_checkpoints();
    }
    errno = saved;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    /* during a restart DMTCP itself receives descriptors this way, and no symbol can be looked up */
    if (worker_state != RUNNING && worker_state != PRESUSPEND)
        return syscall(SYS_recvmsg, fd, message, flags);
    FIND(recvmsg);
    ssize_t length = next(fd, message, flags);
    if (length >= 0)
        note_all(message);
    return length;
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned most, int flags, struct timespec *timeout)
{
    FIND(recvmmsg);
    int count = next(fd, messages, most, flags, timeout);
    for (int i = 0; i < count; i++)
        note_all(&messages[i].msg_hdr);
    return count;
}

static void await_leave(const struct msghdr *message)
{
    if (next_with_descriptors((struct msghdr *)message, NULL))
        await_removal(HOLD);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (worker_state != RUNNING && worker_state != PRESUSPEND)
        return syscall(SYS_sendmsg, fd, message, flags);
    FIND(sendmsg);
    await_leave(message);
    return next(fd, message, flags);
}

/* Nothing from here on may call malloc(): a suspended thread may be inside it. */
static bool is_sent_some(const char *fd)
{
    char path[PATH_MAX], text[TEXT_LENGTH];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%s", fd);
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    ssize_t length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    text[length < 0 ? 0 : length] = 0;
    const char *told = strstr(text, ON_THEIR_WAY);
    return told && atoi(told + strlen(ON_THEIR_WAY)) > 0;
}

/* Whether descriptors wait in a socket to be received; Linux 5.6 and later report it. */
static bool are_on_their_way(void)
{
    _Alignas(struct dirent64) char block[BLOCK];
    bool found = false;
    long length;
    int folder = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY);
    while (!found && (length = syscall(SYS_getdents64, folder, block, sizeof block)) > 0) {
        const struct dirent64 *entry;
        for (long at = 0; at < length && !found; at += entry->d_reclen) {
            entry = (const struct dirent64 *)(block + at);
            found = is_sent_some(entry->d_name);
        }
    }
    syscall(SYS_close, folder);
    return found;
}

const char *dmtcp_get_tmpdir(void) __attribute__((weak));

static void end_rather_than_lose_one(void)
{
    static const char said[] = "*** ERROR: a descriptor that one process sends another would be lost on its way\n";
    char path[PATH_MAX];
    if (!are_on_their_way())
        return;
    snprintf(path, sizeof path, "%s/on-its-way.log", dmtcp_get_tmpdir ? dmtcp_get_tmpdir() : "");
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    syscall(SYS_write, file, said, strlen(said));
    syscall(SYS_exit_group, EXIT_FAILURE);
}

__attribute__((constructor)) static void begin(void)
{
    before_images = end_rather_than_lose_one;
}
