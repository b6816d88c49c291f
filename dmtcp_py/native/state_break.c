/* sbrk() and brk(), which fail under DMTCP (3.2, 4.2, 5.0): it keeps the memory after the program's data to itself; part
   of the plugin `state`.

   Here they move the end of memory that was reserved elsewhere, at the first call. The C library's malloc() has its own
   way to the kernel, and does without since DMTCP lets it fail. DMTCP's own calls are about the kernel's. */

#define _GNU_SOURCE
#include <sys/mman.h>

#include "state.h"

#define MOST (64UL << 30)
#define LEAST (16UL << 20)
#define PAGE 65536UL /* a multiple of what machines have */
#define FAILED ((void *)-1)

static char *from, *end, *limit;

static char *page_end(const char *at)
{
    return (char *)(((uintptr_t)at + PAGE - 1) & ~(PAGE - 1));
}

static int reserve(void)
{
    for (size_t size = MOST; !from && size >= LEAST; size /= 4)
        if ((from = end = raw_map(size, PROT_NONE, MAP_ANONYMOUS | MAP_NORESERVE, -1)))
            limit = from + size;
    return from != NULL;
}

static int move_to(char *new_end)
{
    char *had = page_end(end), *has = page_end(new_end);
    long result = 0;
    if (new_end < from || new_end > limit)
        result = -1;
    else if (has > had)
        result = RAW(SYS_mprotect, had, has - had, PROT_READ | PROT_WRITE);
    else if (has < had) /* what is given up is zero when it is had again */
        result = RAW(SYS_mmap, has, had - has, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (result < 0 && result > -4096) {
        errno = ENOMEM;
        return -1;
    }
    end = new_end;
    return 0;
}

void *sbrk(intptr_t change)
{
    if (is_dmtcps((uintptr_t)__builtin_return_address(0)))
        return ((void *(*)(intptr_t))next_function("sbrk"))(change);
    if (!reserve()) {
        errno = ENOMEM;
        return FAILED;
    }
    char *was = end;
    return change && move_to(end + change) ? FAILED : was;
}

int brk(void *new_end)
{
    if (is_dmtcps((uintptr_t)__builtin_return_address(0)))
        return ((int (*)(void *))next_function("brk"))(new_end);
    if (!reserve()) {
        errno = ENOMEM;
        return -1;
    }
    return move_to(new_end);
}
