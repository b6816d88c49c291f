/* Connections that a program begins, which DMTCP (3.2, 4.2, 5.0) loses unless both ends are open; part of the plugin
   `forks`.

   A connection that is not accepted yet is closed after a restart, at one end without a word. The supervisor takes no
   checkpoint while it sees one (engine/dmtcp/inspection.py), and none begins between that look and the images: as long
   as the file HOLD exists, connect() waits. */

#define _GNU_SOURCE
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "forks.h"

#define HOLD "hold-starts"

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    /* during a restart DMTCP itself connects, and no symbol can be looked up */
    if (worker_state > PRESUSPEND)
        return (int)syscall(SYS_connect, fd, address, size);
    FIND_AFTER(connect);
    await_removal(HOLD);
    return next(fd, address, size);
}
