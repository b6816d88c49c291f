/* Wait for ever in the kernel, where no signal but SIGKILL is heard: as the parent of a vfork() whose child sleeps. */
#include <time.h>

static char stack[65536];

__attribute__((noinline)) static void sleep_for_ever(void)
{
    for (;;) {
        struct timespec hour = { 3600, 0 };
        nanosleep(&hour, 0);
    }
}

void wait_in_the_kernel(void)
{
    /* clone(CLONE_VM | CLONE_VFORK | SIGCHLD), with a stack for the child */
    long result;
    __asm__ volatile("syscall" : "=a"(result)
                     : "a"(56), "D"(0x4100 | 17), "S"(stack + sizeof stack - 64), "d"(0)
                     : "rcx", "r11", "memory");
    if (!result)
        sleep_for_ever();
}
