/* FIFOs whose opening waits for the other end; part of the plugin `files`.

   While DMTCP (3.2, 4.2, 5.0) opens a file, no checkpoint can begin, and the process that is to open the other end may
   never run on. So the wait is a system call past DMTCP, which a checkpoint interrupts and the kernel begins again. Then
   DMTCP opens the FIFO, without a wait, because this process has both of its ends open meanwhile. */

#define _GNU_SOURCE
#include <string.h>

#include "files.h"

#define NONE (-1)

/* Wait until the other end of PATH is open, if opening it with FLAGS waits for that. Returns -1 if that fails. To be
   followed by close_ends(). */
int await_other_end(int dir, const char *path, int flags, int ends[2])
{
    struct stat found;
    ends[0] = ends[1] = NONE;
    if (!dmtcp_dlsym || !path || flags & (O_NONBLOCK | O_PATH) || (flags & O_ACCMODE) == O_RDWR ||
        (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) || raw_stat(dir, path, 0, &found) || !S_ISFIFO(found.st_mode))
        return 0;
    long end = RAW(SYS_openat, dir, path, flags | O_CLOEXEC, 0);
    if (end < 0) {
        errno = (int)-end;
        return -1;
    }
    dmtcp_plugin_disable_ckpt();
    ends[0] = (int)end;
    ends[1] = (int)RAW(SYS_openat, dir, path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
    return 0;
}

void close_ends(const int ends[2])
{
    if (ends[0] == NONE)
        return;
    raw_close(ends[1]);
    raw_close(ends[0]);
    dmtcp_plugin_enable_ckpt();
}

/* The flags of open() for what fopen() does with MODE. */
int flags_of_mode(const char *mode)
{
    if (strchr(mode, '+'))
        return O_RDWR;
    return mode[0] == 'r' ? O_RDONLY : O_WRONLY;
}
