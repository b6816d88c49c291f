/* What CRIU (4.1, 4.2) cannot take, and what asks for it does without: rings of the kernel's io_uring.

   libuv makes one wherever the kernel lets it, to change the descriptors that it waits for in batches, and has no
   setting against that; PyTorch's torchrun has it for the server by which its processes find each other. Where there
   is no ring libuv changes them one by one. Its call is the C library's syscall(); what makes the system call by itself
   (liburing) is not reached, and CRIU's failure is told. */

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
    if (!next) /* a library's constructor that comes before ours */
        look_up();
    return next(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
