/* The ends of pipes that the processes of a computation have open: found before the images, and opened again after a
   restart; part of the plugin `shared`. It runs in DMTCP's thread, while all threads of the program are suspended.

   Processes share pipes, and descriptions of open files (open(2)), with their O_NONBLOCK. Of the processes that share a
   description one leads: each writes its pid to it (F_SETOWN_EX), and the last pid stays. Of the leaders of a pipe one
   keeps its content: the one that makes a file with the pipe's number first. After a restart that one makes the pipe
   and a symbolic link to it, the leaders open the link and make one to the description, and the others get it.

   FIFOs with a name are kept by DMTCP, with their content. It opens them again for reading and writing, whatever they
   were opened for, so that their readers would never come to the end of the file; here they are opened once more.

   Pipes whose other end is outside of the computation are left to DMTCP, which connects a restarted program with the
   standard streams of the restart. */

#define _GNU_SOURCE
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "shared.h"

#define OUTER "outer-pipe"
#define PIPE "pipe"
#define PACKETS "pipe-of-packets"
#define DESCRIPTION "pipe-end"
#define BLOCK 4096
#define KEPT_FLAGS (O_ACCMODE | O_NONBLOCK | O_DIRECT | O_APPEND | O_ASYNC)

struct owner { /* struct f_owner_ex */
    int type, pid;
};

static struct end {
    int fd, descriptor_flags, flags;
    unsigned long long inode;
    int has_name, is_queue;
    struct owner owner; /* as the program set it */
    int leader;         /* the pid of the process that leads its description */
    int is_led;         /* whether that is this process */
    int keeps;          /* whether this process keeps the pipe's content here */
    int both;           /* the descriptor of the pipe that it then makes */
    struct content content;
    struct queue *queue;     /* what it keeps of a queue */
    struct request *request; /* of this process to be notified of a queue */
} *ends;
static int end_count, end_room;

/* Call FOUND for each pipe that is open. */
static void for_each_pipe(void (*found)(int fd, const struct stat *pipe))
{
    static _Alignas(struct dirent64) char block[BLOCK];
    struct stat pipe;
    long length;
    int folder = raw_open("/proc/self/fd", O_RDONLY | O_DIRECTORY, 0);
    while ((length = RAW(SYS_getdents64, folder, block, sizeof block)) > 0) {
        const struct dirent64 *entry;
        for (long at = 0; at < length; at += entry->d_reclen) {
            entry = (const struct dirent64 *)(block + at);
            int fd = atoi(entry->d_name);
            if (entry->d_name[0] != '.' && fd != folder && (is_fifo(fd, &pipe) || is_queue(fd, &pipe)))
                found(fd, &pipe);
        }
    }
    raw_close(folder);
}

/* A number for a pipe; those with a name are files of other file systems. */
static unsigned long long number_of(const struct stat *pipe)
{
    return pipe->st_ino + ((unsigned long long)pipe->st_dev << 40);
}

static void note_outer(int fd, const struct stat *pipe)
{
    for (int i = 0; i < end_count; i++)
        if (ends[i].fd == fd)
            return; /* after a restart, DMTCP has opened the FIFOs with a name again */
    mark(OUTER, number_of(pipe));
}

/* Note for all processes the pipes that this one was started or restarted with: they are not the program's. */
void note_outer_pipes(void)
{
    for_each_pipe(note_outer);
}

static void count(int fd, const struct stat *pipe)
{
    (void)fd, (void)pipe;
    end_room++;
}

static void record_end(int fd, const struct stat *pipe)
{
    if (end_count == end_room || is_marked(OUTER, number_of(pipe)))
        return;
    struct stat found;
    struct end *end = &ends[end_count++];
    *end = (struct end){ .fd = fd, .inode = number_of(pipe), .is_queue = is_queue(fd, &found) };
    end->has_name = !end->is_queue && !is_pipe(fd, &found);
    end->request = end->is_queue ? take_request(fd, &found) : NULL;
    end->descriptor_flags = (int)RAW(SYS_fcntl, fd, F_GETFD);
    end->flags = (int)RAW(SYS_fcntl, fd, F_GETFL) & KEPT_FLAGS;
    RAW(SYS_fcntl, fd, F_GETOWN_EX, &end->owner);
    if (end->flags & O_DIRECT)
        mark(PACKETS, end->inode);
}

static void find_ends(void)
{
    end_count = end_room = 0;
    for_each_pipe(count);
    ends = raw_map((size_t)(end_room + 1) * sizeof *ends, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
    if (!ends)
        end_because("there is no memory for the pipes");
    for_each_pipe(record_end);
}

/* Keep the content of the pipe of END, unless a process already does. */
static void keep_content(struct end *end)
{
    if (!mark(PIPE, end->inode))
        return;
    end->keeps = 1;
    if (end->is_queue)
        end->queue = record_queue(end->fd);
    if (end->has_name || end->is_queue)
        return;
    end->content.is_packets = is_marked(PACKETS, end->inode);
    int both = open_both(end->fd);
    record_content(both, &end->content);
    raw_close(both);
}

static void make_requests(void)
{
    for (int i = 0; i < end_count; i++)
        if (ends[i].request)
            make_request(ends[i].fd, ends[i].request);
}

/* Find the pipes of this process, and keep the content of some of them, before the images. */
void record_pipes(void)
{
    struct owner self = { F_OWNER_PID, real_pid() }, last;
    find_ends();
    await_others("Pipes::Found");
    for (int i = 0; i < end_count; i++)
        RAW(SYS_fcntl, ends[i].fd, F_SETOWN_EX, &self);
    await_others("Pipes::Led");
    for (int i = 0; i < end_count; i++) {
        RAW(SYS_fcntl, ends[i].fd, F_GETOWN_EX, &last);
        ends[i].leader = last.pid;
        ends[i].is_led = last.pid == self.pid;
        if (ends[i].is_led)
            keep_content(&ends[i]);
    }
    await_others("Pipes::Kept");
    for (int i = 0; i < end_count; i++) {
        if (ends[i].is_led)
            RAW(SYS_fcntl, ends[i].fd, F_SETOWN_EX, &ends[i].owner);
        if (ends[i].keeps) {
            unlink_in_common(PIPE, ends[i].inode);
            unlink_in_common(PACKETS, ends[i].inode);
        }
    }
    make_requests();
}

void forget_pipes(void)
{
    for (int i = 0; i < end_count; i++) {
        free_content(&ends[i].content);
        free_queue(ends[i].queue);
    }
    if (ends)
        RAW(SYS_munmap, ends, (size_t)(end_room + 1) * sizeof *ends);
    ends = NULL;
    end_count = 0;
}

/* Whether two ends of this process have the same description; two with the same flags may also have two. */
static int are_same(const struct end *one, const struct end *other)
{
    return one->inode == other->inode && one->flags == other->flags && one->leader == other->leader;
}

/* Make the name of a symbolic link that stands for the description of END. */
static void name_description(char *path, size_t size, const struct end *end)
{
    char prefix[LINK_LENGTH];
    snprintf(prefix, sizeof prefix, DESCRIPTION ".%d.%x", end->leader, (unsigned)end->flags);
    name_in_common(path, size, prefix, end->inode);
}

/* Move descriptor FD above all that are to be restored. */
static int moved_up(int fd, int above)
{
    int moved = (int)RAW(SYS_fcntl, fd, F_DUPFD_CLOEXEC, above);
    raw_close(fd);
    if (moved < 0)
        end_because("there is no descriptor left to make a pipe");
    return moved;
}

static int make_again(const struct end *end)
{
    if (end->is_queue)
        return make_queue(end->queue);
    return end->has_name ? open_both(end->fd) : make_pipe(&end->content);
}

/* Make the pipe of END with its content, and publish it; return a descriptor above all that are to be restored. */
static int make_and_publish(const struct end *end, int above)
{
    char path[PATH_MAX];
    int both = moved_up(make_again(end), above);
    name_in_common(path, sizeof path, PIPE, end->inode);
    publish(path, both);
    return both;
}

/* Give descriptor FD to END and to all of this process that have the same description. */
static void install(int fd, const struct end *end)
{
    int is_needed = 0;
    for (int i = 0; i < end_count; i++) {
        int cloexec = ends[i].descriptor_flags & FD_CLOEXEC;
        if (!are_same(&ends[i], end))
            continue;
        if (ends[i].fd == fd)
            RAW(SYS_fcntl, fd, F_SETFD, cloexec);
        else
            RAW(SYS_dup3, fd, ends[i].fd, cloexec ? O_CLOEXEC : 0);
        is_needed |= ends[i].fd == fd;
    }
    if (!is_needed)
        raw_close(fd);
}

/* Open the pipe of END, whose description this process leads, and publish it. */
static void open_led(const struct end *end)
{
    char path[PATH_MAX];
    name_in_common(path, sizeof path, PIPE, end->inode);
    install(open_pipe(path, end->flags & O_ACCMODE, end->flags), end);
    name_description(path, sizeof path, end);
    publish(path, end->fd);
}

/* Get the description of END from the process that leads it; if the kernel refuses, another description of its pipe. */
static void get_description(const struct end *end)
{
    char path[PATH_MAX], target[LINK_LENGTH];
    int pid, number, fd = -1;
    name_description(path, sizeof path, end);
    if (raw_link_text(path, target, sizeof target) > 0 && sscanf(target, "/proc/%d/fd/%d", &pid, &number) == 2) {
        int process = (int)RAW(SYS_pidfd_open, pid, 0);
        fd = (int)RAW(SYS_pidfd_getfd, process, number, 0);
        raw_close(process);
    }
    install(fd < 0 ? open_pipe(path, end->flags & O_ACCMODE, end->flags) : fd, end);
}

static int is_first(int at)
{
    for (int i = 0; i < at; i++)
        if (are_same(&ends[i], &ends[at]))
            return 0;
    return 1;
}

static int highest(void)
{
    int above = 0;
    for (int i = 0; i < end_count; i++)
        above = ends[i].fd > above ? ends[i].fd : above;
    return above;
}

/* Make and open the pipes again, after a restart. */
void restore_pipes(void)
{
    char path[PATH_MAX];
    int above = highest() + 1;
    for (int i = 0; i < end_count; i++)
        if (ends[i].keeps)
            ends[i].both = make_and_publish(&ends[i], above);
    await_others("Pipes::Made");
    for (int i = 0; i < end_count; i++)
        if (is_first(i) && ends[i].is_led)
            open_led(&ends[i]);
    await_others("Pipes::Opened");
    for (int i = 0; i < end_count; i++)
        if (is_first(i) && !ends[i].is_led)
            get_description(&ends[i]);
    await_others("Pipes::Passed");
    for (int i = 0; i < end_count; i++) {
        if (ends[i].keeps) {
            if (ends[i].is_queue)
                finish_queue(ends[i].both, ends[i].queue);
            raw_close(ends[i].both);
            unlink_in_common(PIPE, ends[i].inode);
        }
        if (is_first(i) && ends[i].is_led) {
            name_description(path, sizeof path, &ends[i]);
            RAW(SYS_unlinkat, AT_FDCWD, path, 0);
        }
    }
    make_requests();
}
