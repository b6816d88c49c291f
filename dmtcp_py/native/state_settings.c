/* Settings of a process that no image has: what a core dump contains, whether equal memory is merged, for which barriers
   of all threads it is registered; part of the plugin `state`.

   Called in DMTCP's checkpoint thread while all others are suspended. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/prctl.h>

#include "state.h"

#define CORE_FILTER "/proc/self/coredump_filter"
#define MEMORY_MERGE_SET 67
#define MEMORY_MERGE_GET 68
/* membarrier(2): the commands that register, and the one that returns which have (Linux 6.3) */
#define REGISTRATIONS 512
#define REGISTERS (2L | 4 | 16 | 64 | 256)

static long core_filter, merges, registered;

static long read_core_filter(void)
{
    char text[24];
    int fd = raw_open(CORE_FILTER, O_RDONLY, 0);
    long got = fd < 0 ? 0 : RAW(SYS_read, fd, text, sizeof text - 1);
    if (fd >= 0)
        RAW(SYS_close, fd);
    text[got > 0 ? got : 0] = 0;
    return got > 0 ? strtol(text, NULL, 16) : -1;
}

static void write_core_filter(long value)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%ld", value);
    int fd = raw_open(CORE_FILTER, O_WRONLY, 0);
    if (fd < 0)
        return;
    RAW(SYS_write, fd, text, length);
    RAW(SYS_close, fd);
}

static long read_registered(void)
{
    long found = RAW(SYS_membarrier, REGISTRATIONS, 0, 0);
    return found < 0 ? 0 : found & REGISTERS;
}

void record_settings(void)
{
    core_filter = read_core_filter();
    merges = RAW(SYS_prctl, MEMORY_MERGE_GET, 0, 0, 0, 0);
    registered = read_registered();
}

void put_back_settings(void)
{
    if (core_filter >= 0 && read_core_filter() != core_filter)
        write_core_filter(core_filter);
    if (merges > 0)
        RAW(SYS_prctl, MEMORY_MERGE_SET, 1, 0, 0, 0);
    for (long command = 1; command <= REGISTERS; command <<= 1)
        if (registered & command)
            RAW(SYS_membarrier, command, 0, 0);
}

void check_settings(void)
{
    check("core dump filter", -1, core_filter, read_core_filter());
    check("prctl setting", MEMORY_MERGE_SET, merges, RAW(SYS_prctl, MEMORY_MERGE_GET, 0, 0, 0, 0));
    check("registered barriers", -1, registered, read_registered());
}
