/* Advice and locks on memory, which DMTCP does not restore; part of the plugin `state`.

   Read from the flags of /proc/self/smaps before the image, and given again after the restart.

   Reserved address space: DMTCP maps what is in the image without MAP_NORESERVE, and a reservation that is larger than
   the memory of the machine is then refused by the kernel. DMTCP asks this plugin about each region that it writes, and
   maps it later with the flags that it then has. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "state.h"

#define MOST_AREAS 4096
#define LARGE (1UL << 30)
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

enum {
    LOCKED = 1,
    LOCKED_ON_FAULT = 2,
    NO_RESERVE = 4,
    FIRST_ADVICE = 8,
};

static const struct {
    char name[3];
    int advice;
} advices[] = {
    { "dc", MADV_DONTFORK },   { "wf", MADV_WIPEONFORK }, { "dd", MADV_DONTDUMP }, { "hg", MADV_HUGEPAGE },
    { "nh", MADV_NOHUGEPAGE }, { "mg", MADV_MERGEABLE },  { "sr", MADV_SEQUENTIAL }, { "rr", MADV_RANDOM },
};

#define ADVICES ((int)(sizeof advices / sizeof *advices))

static struct area {
    uintptr_t from, to;
    unsigned flags;
} areas[MOST_AREAS], former_areas[MOST_AREAS];
static int area_count, is_future_locked;

static unsigned flags_of(const char *text)
{
    unsigned flags = 0;
    for (; text[0] && text[1]; text += text[2] == ' ' ? 3 : 2) {
        for (int i = 0; i < ADVICES; i++)
            if (!memcmp(text, advices[i].name, 2))
                flags |= FIRST_ADVICE << i;
        flags |= !memcmp(text, "lo", 2) ? LOCKED : !memcmp(text, "lf", 2) ? LOCKED_ON_FAULT : 0;
        flags |= !memcmp(text, "nr", 2) ? NO_RESERVE : 0;
    }
    return flags;
}

static void add(uintptr_t from, uintptr_t to, unsigned flags)
{
    struct area *former = area_count ? &areas[area_count - 1] : NULL;
    if (former && former->to == from && former->flags == flags)
        former->to = to;
    else if (area_count < MOST_AREAS)
        areas[area_count++] = (struct area){ from, to, flags };
}

/* "from-to rwxp offset device inode name" begins an area, "VmFlags: xx yy" is its last line. */
void record_memory(void)
{
    static struct lines file;
    char line[256];
    uintptr_t from = 0, to = 0;
    int is_kernels = 0, is_forbidden = 0;
    file = (struct lines){ .fd = raw_open("/proc/self/smaps", O_RDONLY, 0) };
    area_count = 0;
    while (file.fd >= 0 && next_line(&file, line, sizeof line)) {
        char *end;
        uintptr_t start = strtoul(line, &end, 16);
        if (*end == '-') {
            from = start;
            to = strtoul(end + 1, &end, 16);
            is_forbidden = !strncmp(end, " ---p", 5);
            is_kernels = strstr(end, " [v") != NULL; /* [vdso], [vvar], [vsyscall] */
        } else if (!strncmp(line, "VmFlags: ", 9) && !is_kernels) {
            unsigned flags = flags_of(line + 9);
            if (is_forbidden && to - from >= LARGE)
                flags |= NO_RESERVE;
            if (flags)
                add(from, to, flags);
        }
    }
    if (file.fd >= 0)
        RAW(SYS_close, file.fd);
}

void put_back_memory(void)
{
    for (int i = 0; i < area_count; i++) {
        size_t size = areas[i].to - areas[i].from;
        for (int one = 0; one < ADVICES; one++)
            if (areas[i].flags & (unsigned)FIRST_ADVICE << one)
                RAW(SYS_madvise, areas[i].from, size, advices[one].advice);
        if (areas[i].flags & LOCKED)
            RAW(SYS_mlock2, areas[i].from, size, areas[i].flags & LOCKED_ON_FAULT ? MLOCK_ONFAULT : 0);
    }
    if (is_future_locked)
        RAW(SYS_mlockall, is_future_locked);
}

void check_memory(void)
{
    int count = area_count, at = 0;
    memcpy(former_areas, areas, sizeof areas);
    record_memory();
    for (int i = 0; i < count; i++) {
        const struct area *was = &former_areas[i];
        while (at < area_count && areas[at].to <= was->from)
            at++;
        unsigned now = at < area_count && areas[at].from <= was->from ? areas[at].flags : 0;
        check("advice on memory", -1, was->flags & ~(unsigned)NO_RESERVE, now & was->flags & ~(unsigned)NO_RESERVE);
    }
}

void list_memory(void)
{
    for (int i = 0; i < area_count; i++)
        if (areas[i].flags & ~(unsigned)NO_RESERVE)
            record_number("advice on memory, area", i, (long)areas[i].flags);
}

/* No file shows whether memory that is mapped later is to be locked. */
int mlockall(int flags)
{
    static int (*next)(int);
    if (!next)
        next = (int (*)(int))next_function("mlockall");
    int result = next(flags);
    if (!result)
        is_future_locked = flags & MCL_FUTURE ? flags & ~MCL_CURRENT : 0;
    return result;
}

int munlockall(void)
{
    static int (*next)(void);
    if (!next)
        next = (int (*)(void))next_function("munlockall");
    is_future_locked = 0;
    return next();
}

/* The beginning of DMTCP's ProcMapsArea (3.2, 4.2, 5.0). */
struct region {
    uint64_t from, to, size, offset, protection, flags;
};

int dmtcp_skip_memory_region_ckpting(struct region *region);

/* DMTCP asks whether to leave out a region. None; but it is restored with the flags that it has here. */
int dmtcp_skip_memory_region_ckpting(struct region *region)
{
    int is_private = (region->flags & MAP_PRIVATE) && (region->flags & MAP_ANONYMOUS);
    for (int i = 0; is_private && i < area_count; i++)
        if (areas[i].flags & NO_RESERVE && areas[i].from <= region->from && region->to <= areas[i].to)
            region->flags |= MAP_NORESERVE;
    return 0;
}
