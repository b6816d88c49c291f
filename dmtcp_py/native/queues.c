/* POSIX message queues (mq_overview(7)); part of the plugin `shared`.

   DMTCP (3.2, 4.2, 5.0) opens a queue again by its name after a restart, and adds what was in it at the checkpoint to
   what the killed program left there. It waits for ever before the images if two processes have opened the same queue,
   loses what is in one that each process opened for one direction only, and loses the request to be notified.

   With this plugin mq_open() opens a queue that DMTCP does not know, and pipe_ends.c treats it as it does a pipe: one of
   the processes that have it open keeps what is in it, and makes it again after a restart. */

#define _GNU_SOURCE
#include <limits.h>
#include <mqueue.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "files.h"
#include "shared.h"

#define MQUEUE_FILES 0x19800202 /* their file system: MQUEUE_MAGIC in Linux's include/uapi/linux/magic.h */
#define OWNERS (S_IRUSR | S_IWUSR)
#define MOST_REQUESTS 64
#define STATE_TEXT 128
#define NOTIFIED "NOTIFY_PID:"

struct message {
    unsigned size, priority;
    char text[];
};

struct queue {
    char name[NAME_MAX + 1];
    mode_t mode;
    int is_removed;
    struct mq_attr attributes;
    long count;
    size_t room; /* for MESSAGES, which is NULL if there are none */
    char *messages;
};

/* What this process asked to be told about its queues. */
static struct request {
    ino_t inode;
    struct sigevent event;
} requests[MOST_REQUESTS];
static unsigned request_count;

int is_queue(int fd, struct stat *found)
{
    struct statfs files;
    return !raw_stat(fd, "", AT_EMPTY_PATH, found) && S_ISREG(found->st_mode) && !RAW(SYS_fstatfs, fd, &files) &&
           files.f_type == MQUEUE_FILES;
}

static size_t size_of(const struct message *message)
{
    return (sizeof *message + message->size + _Alignof(struct message) - 1) & ~(_Alignof(struct message) - 1);
}

/* Open the queue of FD for both directions, whatever its mode says. */
static int open_queue(int fd)
{
    char path[LINK_LENGTH];
    struct stat found;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    raw_stat(fd, "", AT_EMPTY_PATH, &found);
    RAW(SYS_fchmod, fd, (found.st_mode & ALLPERMS) | OWNERS);
    int both = raw_open(path, O_RDWR | O_NONBLOCK, 0);
    RAW(SYS_fchmod, fd, found.st_mode & ALLPERMS);
    if (both < 0)
        end_because("a message queue cannot be opened");
    return both;
}

static void send_all(int both, const struct queue *queue)
{
    const char *at = queue->messages;
    for (long i = 0; i < queue->count; i++) {
        const struct message *message = (const struct message *)at;
        if (RAW(SYS_mq_timedsend, both, message->text, message->size, message->priority))
            end_because("what was in a message queue cannot be sent to it");
        at += size_of(message);
    }
}

static void receive_all(int both, struct queue *queue)
{
    char *at = queue->messages;
    for (long i = 0; i < queue->count; i++) {
        struct message *message = (struct message *)at;
        long got = RAW(SYS_mq_timedreceive, both, message->text, queue->attributes.mq_msgsize, &message->priority);
        if (got < 0)
            end_because("what is in a message queue cannot be received");
        message->size = (unsigned)got;
        at += size_of(message);
    }
}

static void find_name(int fd, struct queue *queue)
{
    char path[LINK_LENGTH], link[PATH_MAX];
    struct stat found;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    raw_link_text(path, link, sizeof link);
    raw_stat(fd, "", AT_EMPTY_PATH, &found);
    queue->mode = found.st_mode & ALLPERMS;
    queue->is_removed = !found.st_nlink;
    snprintf(queue->name, sizeof queue->name, "%s", strrchr(link, '/') ? strrchr(link, '/') + 1 : link);
}

struct queue *record_queue(int fd)
{
    struct queue *queue = raw_map(sizeof *queue, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
    if (!queue)
        end_because("there is no memory for a message queue");
    int both = open_queue(fd);
    find_name(fd, queue);
    RAW(SYS_mq_getsetattr, both, NULL, &queue->attributes);
    queue->count = queue->attributes.mq_curmsgs;
    queue->room = (size_t)queue->count * ((size_t)queue->attributes.mq_msgsize + sizeof(struct message) +
                                          _Alignof(struct message));
    if (queue->count) /* most of it is never touched: MSGSIZE is what a message may have */
        queue->messages = raw_map(queue->room, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (queue->count && !queue->messages)
        end_because("there is no memory for what is in a message queue");
    receive_all(both, queue);
    send_all(both, queue);
    raw_close(both);
    return queue;
}

/* Make QUEUE in place of what a killed program left; the name of one that had none belongs to others, if to any. */
int make_queue(const struct queue *queue)
{
    char name[NAME_MAX + 1];
    snprintf(name, sizeof name, "%s", queue->name);
    if (queue->is_removed)
        snprintf(name, sizeof name, "dmtcp-run-%d-%llu", real_pid(), (unsigned long long)(uintptr_t)queue);
    RAW(SYS_mq_unlink, name);
    int both = (int)RAW(SYS_mq_open, name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, OWNERS, &queue->attributes);
    if (both < 0)
        end_because("a message queue cannot be made");
    if (queue->is_removed)
        RAW(SYS_mq_unlink, name);
    send_all(both, queue);
    return both;
}

/* Set the mode of QUEUE once all its processes have opened BOTH. */
void finish_queue(int both, const struct queue *queue)
{
    RAW(SYS_fchmod, both, queue->mode);
}

void free_queue(struct queue *queue)
{
    if (queue && queue->messages)
        RAW(SYS_munmap, queue->messages, queue->room);
    if (queue)
        RAW(SYS_munmap, queue, sizeof *queue);
}

/* Take back the request of this process to be notified of the queue of FD, and return it: what is in the queue is about
   to be received and sent. The kernel also takes it back when the process closes any descriptor of the queue. */
struct request *take_request(int fd, const struct stat *found)
{
    char text[STATE_TEXT];
    int both = open_queue(fd);
    long length = RAW(SYS_pread64, both, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = 0;
    raw_close(both);
    const char *pid = strstr(text, NOTIFIED);
    if (!pid || atoi(pid + strlen(NOTIFIED)) != real_pid())
        return NULL;
    for (unsigned i = 0; i < MOST_REQUESTS; i++)
        if (requests[i].inode == found->st_ino)
            return &requests[i];
    return NULL;
}

void make_request(int fd, struct request *request)
{
    struct stat found;
    raw_stat(fd, "", AT_EMPTY_PATH, &found);
    request->inode = found.st_ino;
    RAW(SYS_mq_notify, fd, &request->event);
}

static void keep_request(mqd_t queue, const struct sigevent *event)
{
    struct stat found;
    unsigned at = 0;
    raw_stat(queue, "", AT_EMPTY_PATH, &found);
    while (at < MOST_REQUESTS && requests[at].inode != found.st_ino)
        at++;
    if (at == MOST_REQUESTS)
        at = request_count++ % MOST_REQUESTS;
    requests[at] = (struct request){ found.st_ino, *event };
}

static int answer(long result)
{
    if (result < 0)
        errno = (int)-result;
    return result < 0 ? -1 : (int)result;
}

mqd_t mq_open(const char *name, int flags, ...)
{
    FIND(mq_open);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    struct mq_attr *attributes = flags & O_CREAT ? va_arg(rest, struct mq_attr *) : NULL;
    va_end(rest);
    if (!keeps_pipes())
        return next(name, flags, mode, attributes);
    if (*name == '/')
        return (mqd_t)syscall(SYS_mq_open, name + 1, flags, mode, attributes); /* of the plugin `files`, which records it */
    errno = EINVAL;
    return -1;
}

int mq_close(mqd_t queue)
{
    FIND(mq_close);
    return keeps_pipes() ? close(queue) : next(queue);
}

/* SIGEV_THREAD is refused (refusals.c). */
int mq_notify(mqd_t queue, const struct sigevent *event)
{
    FIND(mq_notify);
    if (!keeps_pipes() || (event && event->sigev_notify == SIGEV_THREAD))
        return next(queue, event);
    int result = answer(RAW(SYS_mq_notify, queue, event));
    if (event && !result)
        keep_request(queue, event);
    return result;
}
