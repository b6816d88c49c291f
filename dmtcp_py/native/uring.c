/* What CRIU (4.1, 4.2) cannot checkpoint, and programs can do without: rings of the kernel's io_uring.

   libuv makes one if the kernel allows it, to change in batches the descriptors that it waits for, and has no setting
   to turn it off; PyTorch's torchrun uses libuv in the server by which its processes find each other. Without a ring
   libuv changes descriptors one at a time. It makes the ring by the C library's syscall(), which refuses here. A
   program that makes the system call itself (liburing) is not affected; its checkpoint fails, and CRIU's error is
   reported. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

typedef long (*call)(long, ...);

static call next;

__attribute__((constructor)) static void look_up(void)
{
    next = (call)dlsym(RTLD_NEXT, "syscall");
}

long syscall(long number, ...)
{
    long words[6];
    va_list given;

#ifdef SYS_io_uring_setup
    if (number == SYS_io_uring_setup) {
        errno = ENOSYS;
        return -1;
    }
#endif
    va_start(given, number);
    for (int i = 0; i < 6; i++)
        words[i] = va_arg(given, long);
    va_end(given);
    if (!next) /* called by the constructor of a library that is initialised before this one */
        look_up();
    return next(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
