/* What a process sent before it ended reaches DMTCP's coordinator; loaded into dmtcp_coordinator alone.

   The coordinator of DMTCP 3.2 closes a connection whose other end has hung up before it reads what arrived on it
   (4.2 reads one message first). A process that ends right after a checkpoint, such as a short sleep of a shell
   script, is then never counted as checkpointed: the coordinator believes that the checkpoint goes on, suspends each
   new process at its start, and begins no other checkpoint. Here epoll_wait() does not tell of a hang-up as long as
   there is something to read; it is told at the next call, since the coordinator's epoll is level-triggered. */

#define _DEFAULT_SOURCE
#include "peers.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 65536 /* descriptors; of one beyond, a hang-up is told at once */

static void *data[MOST]; /* what the coordinator calls the connection with this descriptor */
static int highest = -1;

static int highest_with(const void *connection)
{
    int fd = highest;
    while (fd >= 0 && data[fd] != connection)
        fd--;
    return fd;
}

int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    if (fd >= 0 && fd < MOST) {
        void *given = what == EPOLL_CTL_DEL || !event ? NULL : event->data.ptr;
        int old = given ? highest_with(given) : -1; /* of a connection that was closed, and whose memory is used again */
        if (old >= 0)
            data[old] = NULL;
        data[fd] = given;
        if (fd > highest)
            highest = fd;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, what, fd, event);
}

static int has_more(const void *connection)
{
    int bytes = 0, fd = connection ? highest_with(connection) : -1;
    return fd >= 0 && ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    int count = (int)syscall(SYS_epoll_pwait, epoll, events, most, timeout, NULL, _NSIG / 8);
    for (int i = 0; i < count; i++)
        if (events[i].events & EPOLLIN && events[i].events & (EPOLLHUP | EPOLLRDHUP)
            && has_more(events[i].data.ptr))
            events[i].events = EPOLLIN;
    return count;
}
