/* The command line, the environment and the executable of a process as /proc names them: after a restart they would be
   those of mtcp_restart; part of the plugin `state`.

   The executable can be put back with privileges only (CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN).
   Called in DMTCP's checkpoint thread while all others are suspended. */

#define _GNU_SOURCE
#include <limits.h>
#include <linux/prctl.h>
#include <stdlib.h>

#include "state.h"

#define UNCHANGED ((__u32)-1)

/* the numbers of fields, see proc(5) */
enum {
    START_CODE = 26,
    END_CODE,
    START_STACK,
    START_DATA = 45,
    END_DATA,
    START_BREAK,
    ARG_START,
    ARG_END,
    ENV_START,
    ENV_END,
    FIELDS
};

static unsigned long given[FIELDS]; /* by the kernel, at the start of the program */
static char executable[PATH_MAX];

/* Read the fields of /proc/self/stat that are addresses; the second one may have spaces, and ends with a parenthesis. */
static int read_fields(unsigned long *fields)
{
    static char text[2048];
    int fd = raw_open("/proc/self/stat", O_RDONLY, 0);
    long got = fd < 0 ? 0 : RAW(SYS_read, fd, text, sizeof text - 1);
    if (fd >= 0)
        RAW(SYS_close, fd);
    text[got > 0 ? got : 0] = 0;
    char *at = strrchr(text, ')');
    for (int i = 3; at && i < FIELDS; i++) {
        at = strchr(at + 1, ' ');
        if (at)
            fields[i] = strtoul(at + 1, NULL, 10);
    }
    return at != NULL;
}

/* Only once: after a restart it may be that of mtcp_restart. */
void record_names(void)
{
    if (given[ARG_START] || !read_fields(given))
        return;
    long length = RAW(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", executable, sizeof executable - 1);
    executable[length > 0 ? length : 0] = 0;
}

void put_back_names(void)
{
    unsigned long now[FIELDS];
    if (!given[ARG_START] || !read_fields(now))
        return;
    struct prctl_mm_map map = {
        .start_code = now[START_CODE],
        .end_code = now[END_CODE],
        .start_data = now[START_DATA],
        .end_data = now[END_DATA],
        .start_brk = now[START_BREAK],
        .brk = (__u64)RAW(SYS_brk, 0),
        .start_stack = now[START_STACK],
        .arg_start = given[ARG_START],
        .arg_end = given[ARG_END],
        .env_start = given[ENV_START],
        .env_end = given[ENV_END],
        .exe_fd = UNCHANGED,
    };
    RAW(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
    int fd = executable[0] ? raw_open(executable, O_RDONLY, 0) : -1;
    if (fd < 0)
        return;
    map.exe_fd = (__u32)fd;
    RAW(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
    RAW(SYS_close, fd);
}
