/* Guard regions (MADV_GUARD_INSTALL, Linux 6.13; the C library has one in each thread's stack from 2.42 on); part of
   the plugin `state`.

   DMTCP cannot read them, and ends the program. They are removed before the image and installed again afterwards.

   Which pages they are is known from the kernel's page map: in one answer since Linux 6.16 or so. Before that they stay, and DMTCP fails. */

#define _GNU_SOURCE
#include <sys/ioctl.h>

#include "state.h"

#define MOST_GUARDS 4096
#define INSTALL 102
#define REMOVE 103
#define PAGE_IS_GUARD (1 << 8)
#define HIGHEST ((1UL << 47) - (1UL << 16))

/* struct pm_scan_arg and struct page_region of the kernel */
struct scan {
    uint64_t size, flags, start, end, walk_end, found, room, most_pages, inverted, all_of, any_of, returned;
};

static struct guard {
    uint64_t from, to, kinds;
} guards[MOST_GUARDS];
static int guard_count;

#define SCAN _IOWR('f', 16, struct scan)

static void advise(int advice)
{
    for (int i = 0; i < guard_count; i++)
        RAW(SYS_madvise, guards[i].from, guards[i].to - guards[i].from, advice);
}

void remove_guards(void)
{
    struct scan scan = { .size = sizeof scan, .end = HIGHEST, .all_of = PAGE_IS_GUARD, .returned = PAGE_IS_GUARD };
    int fd = raw_open("/proc/self/pagemap", O_RDONLY, 0);
    guard_count = 0;
    for (long got = MOST_GUARDS; fd >= 0 && got > 0 && guard_count < MOST_GUARDS && scan.start < scan.end;) {
        scan.found = (uintptr_t)(guards + guard_count);
        scan.room = (uint64_t)(MOST_GUARDS - guard_count);
        got = RAW(SYS_ioctl, fd, SCAN, &scan);
        guard_count += got > 0 ? (int)got : 0;
        scan.start = scan.walk_end;
    }
    if (fd >= 0)
        RAW(SYS_close, fd);
    advise(REMOVE);
}

void install_guards(void)
{
    advise(INSTALL);
}
