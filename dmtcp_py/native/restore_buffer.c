/* The memory that DMTCP keeps free for a restart; part of the plugin `forks`.

   A program that another one executes (execve(2)) gets from DMTCP the address at which the other kept 90 MB free. DMTCP
   (4.2, 5.0; 3.2 unmaps only) unmaps what is there in the new program, and maps its own there. Addresses are random, so
   mostly nothing is, but about once in 5,000 times it is a library or DMTCP's own memory, and the program dies of
   SIGSEGV. The address that counts is chosen here: the kernel's choice for the new program. */

#define _GNU_SOURCE
#include "forks.h"
#include "raw.h"

static int is_other_programs; /* whether the address that DMTCP passes is; only one thread runs by then */
static __typeof__(mmap) *next_mmap; /* the plugin `files` has one, too */
static __typeof__(munmap) *next_munmap;

/* The first call in a program comes at its start; after a restart, the address is the program's own. */
static int begin(void)
{
    if (next_mmap)
        return 0; /* nothing can be looked up during a restart */
    next_mmap = (__typeof__(mmap) *)after("mmap");
    next_munmap = (__typeof__(munmap) *)after("munmap");
    return 1;
}

/* DMTCP's ProcessInfo::updateRestoreBufAddr(): 4.2 and 5.0, and 3.2 */
void _ZN5dmtcp11ProcessInfo20updateRestoreBufAddrEv(void *info);
void _ZN5dmtcp11ProcessInfo20updateRestoreBufAddrEPvm(void *info, void *address, unsigned long size);

void _ZN5dmtcp11ProcessInfo20updateRestoreBufAddrEv(void *info)
{
    FIND_AFTER(_ZN5dmtcp11ProcessInfo20updateRestoreBufAddrEv);
    is_other_programs = begin();
    next(info);
    is_other_programs = 0;
}

void _ZN5dmtcp11ProcessInfo20updateRestoreBufAddrEPvm(void *info, void *address, unsigned long size)
{
    FIND_AFTER(_ZN5dmtcp11ProcessInfo20updateRestoreBufAddrEPvm);
    is_other_programs = begin();
    next(info, address, size);
    is_other_programs = 0;
}

static long answer(long result)
{
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (next_mmap && !is_other_programs)
        return next_mmap(address, size, protection, flags, fd, offset);
    if (is_other_programs) {
        address = NULL;
        flags &= ~MAP_FIXED;
    }
    return (void *)answer(RAW(SYS_mmap, address, size, protection, flags, fd, offset));
}

int munmap(void *address, size_t size)
{
    if (is_other_programs)
        return 0;
    return next_munmap ? next_munmap(address, size) : (int)answer(RAW(SYS_munmap, address, size));
}
