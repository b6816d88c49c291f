/* Pipes as such: how they are opened and made, and what is in them, which is read before the images, and written back;
   part of the plugin `shared`.

   All of the content fits again: it then fills as many of the pipe's buffers as before, or fewer. */

#define _GNU_SOURCE
#include <limits.h>
#include <sys/ioctl.h>

#include "files.h"
#include "shared.h"

int open_pipe(const char *path, int access, int flags)
{
    int fd = raw_open(path, access | O_NONBLOCK, 0); /* which never waits for the other end */
    if (fd < 0 || RAW(SYS_fcntl, fd, F_SETFL, flags & ~O_ACCMODE) < 0)
        end_because("a pipe cannot be opened");
    return fd;
}

int open_both(int fd)
{
    char path[LINK_LENGTH];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open_pipe(path, O_RDWR, O_NONBLOCK);
}

static void *room(size_t size)
{
    void *at = raw_map(size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
    if (!at)
        end_because("there is no memory for what is in a pipe");
    return at;
}

static void write_all(int both, const char *data, int size)
{
    while (size > 0) {
        long put = RAW(SYS_write, both, data, size);
        if (put <= 0)
            end_because("what was in a pipe cannot be written to it");
        data += put;
        size -= (int)put;
    }
}

static void write_content(int both, const struct content *content)
{
    const char *at = content->data;
    RAW(SYS_fcntl, both, F_SETFL, O_NONBLOCK | (content->is_packets ? O_DIRECT : 0));
    if (!content->is_packets)
        write_all(both, content->data, content->size);
    for (int i = 0; content->is_packets && i < content->packet_count; i++) {
        write_all(both, at, content->packets[i]);
        at += content->packets[i];
    }
}

/* Read what is in the pipe, and write it back. The writer says if it writes packets; if it has closed the pipe, there
   are packets in it if one read does not return all. */
void record_content(int both, struct content *content)
{
    int waiting = 0;
    RAW(SYS_ioctl, both, FIONREAD, &waiting);
    content->capacity = (int)RAW(SYS_fcntl, both, F_GETPIPE_SZ);
    if (waiting <= 0)
        return;
    content->data = room((size_t)waiting);
    content->packets = room((size_t)waiting * sizeof *content->packets);
    while (content->size < waiting) {
        long got = RAW(SYS_read, both, content->data + content->size, waiting - content->size);
        if (got <= 0)
            end_because("what is in a pipe cannot be read");
        content->size += (int)got;
        content->packets[content->packet_count++] = (unsigned short)got;
    }
    content->is_packets |= content->packet_count > 1;
    write_content(both, content);
}

int make_pipe(const struct content *content)
{
    int pair[2];
    if (RAW(SYS_pipe2, pair, O_CLOEXEC))
        end_because("a pipe cannot be made");
    int both = open_both(pair[0]);
    raw_close(pair[0]);
    raw_close(pair[1]);
    RAW(SYS_fcntl, both, F_SETPIPE_SZ, content->capacity);
    write_content(both, content);
    return both;
}

void free_content(struct content *content)
{
    if (content->data)
        RAW(SYS_munmap, content->data, content->size);
    if (content->packets)
        RAW(SYS_munmap, content->packets, content->size * sizeof *content->packets);
    *content = (struct content){ 0 };
}
