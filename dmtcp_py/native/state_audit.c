/* The comparison after a restart of what is with what was recorded; part of the plugin `state`.

   What processes share is compared while none of them runs (state_events.c). Then each thread compares what is its own
   once it has put that back, and waits. DMTCP's checkpoint thread compares what is the process's when all threads have
   come so far, writes the differences to a file in the temporary folder of dmtcp-run, and lets the threads go on: nothing
   can change in between. A file without a line means: all as it was.

   A line has the name of what differs, what it was and what it is, with tabs between; the last one says how many values
   were compared. Before the image the same values are written to another file, for people to read: a line has a name and
   a value, and a line "thread" begins those of one thread. dmtcp_py/engine/dmtcp/audit.py reads both. */

#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <time.h>

#include "state.h"

#define LONGEST_WAIT_S 10
#define LINE 160

static char lines[8192]; /* the differences, or before the image the values */
static size_t used;
static int compared, is_recording, has_begun;
static volatile int suspended, arrived, is_released, turn;

static size_t add_text(size_t at, const char *text)
{
    while (*text && at < sizeof lines - 1)
        lines[at++] = *text++;
    return at;
}

static size_t add_number(size_t at, long number)
{
    char digits[24];
    int first = sizeof digits - 1;
    unsigned long rest = number < 0 ? -(unsigned long)number : (unsigned long)number;
    digits[first] = 0;
    do
        digits[--first] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        digits[--first] = '-';
    return add_text(at, digits + first);
}

/* Append what is written until now to the file NAME of this process; called in DMTCP's checkpoint thread. */
static void append_lines(const char *name)
{
    static char path[PATH_MAX];
    if (!dmtcp_get_tmpdir || !used)
        return;
    snprintf(path, sizeof path, "%s/../%s-%d.txt", dmtcp_get_tmpdir(), name, (int)RAW(SYS_getpid));
    int fd = (int)RAW(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC | (has_begun ? O_APPEND : O_TRUNC), 0600);
    if (fd >= 0) {
        RAW(SYS_write, fd, lines, used);
        RAW(SYS_close, fd);
    }
    has_begun = 1;
    used = 0;
}

static void add_name(const char *what, int number)
{
    if (is_recording && used + LINE >= sizeof lines)
        append_lines("recorded");
    used = add_text(used, what);
    if (number >= 0)
        used = add_number(add_text(used, " "), number);
    used = add_text(used, "\t");
}

void record_number(const char *what, int number, long value)
{
    add_name(what, number);
    used = add_text(add_number(used, value), "\n");
}

void record_text(const char *what, const char *value)
{
    add_name(what, -1);
    for (; *value && used < sizeof lines - 2; value++)
        lines[used++] = (char)((unsigned char)*value < ' ' ? '?' : *value);
    used = add_text(used, "\n");
}

/* Note a difference, of thing NUMBER of several if it is not negative; runs in any thread, on little stack. */
void differs(const char *what, int number, long was, long is)
{
    while (__atomic_exchange_n(&turn, 1, __ATOMIC_ACQUIRE))
        RAW(SYS_sched_yield);
    if (used + LINE < sizeof lines) {
        add_name(what, number);
        used = add_number(add_text(add_number(used, was), "\t"), is);
        used = add_text(used, "\n");
    }
    __atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
}

void check(const char *what, int number, long was, long is)
{
    __atomic_add_fetch(&compared, 1, __ATOMIC_RELAXED);
    if (is_recording)
        record_number(what, number, was);
    else if (was != is)
        differs(what, number, was, is);
}

/* Before the suspension. */
void begin_count(void)
{
    suspended = 0;
}

void count_thread(void)
{
    __atomic_add_fetch(&suspended, 1, __ATOMIC_ACQ_REL);
}

/* Before the image, when all is recorded: write it down, and forget it, as the image has these values. */
void begin_audit(void)
{
    used = 0;
    has_begun = 0;
    is_recording = 1;
    check_process();
    check_children();
    check_descriptors();
    list_memory();
    list_threads();
    append_lines("recorded");
    is_recording = compared = 0;
    arrived = is_released = 0;
}

/* Wait until VALUE is WANTED, but not for ever. */
static void wait_for(volatile int *value, int wanted)
{
    const struct timespec pause = { 0, 20000000 };
    struct timespec since, now;
    RAW(SYS_clock_gettime, CLOCK_MONOTONIC, &since);
    for (int is; (is = __atomic_load_n(value, __ATOMIC_ACQUIRE)) != wanted;) {
        RAW(SYS_futex, value, FUTEX_WAIT, is, &pause);
        RAW(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
        if (now.tv_sec - since.tv_sec > LONGEST_WAIT_S)
            return;
    }
}

static void write_differences(void)
{
    char part[PATH_MAX], whole[PATH_MAX];
    int pid = (int)RAW(SYS_getpid);
    if (!dmtcp_get_tmpdir)
        return;
    snprintf(whole, sizeof whole, "%s/../state-%d.txt", dmtcp_get_tmpdir(), pid);
    snprintf(part, sizeof part, "%s/../part-%d.txt", dmtcp_get_tmpdir(), pid);
    used = add_text(add_number(add_text(used, "compared\t"), compared), "\n");
    has_begun = 0;
    append_lines("part");
    RAW(SYS_renameat2, AT_FDCWD, part, AT_FDCWD, whole, 0);
}

/* What other processes can change too, as soon as they run. */
void audit_shared(void)
{
    check_children();
    check_locks();
    check_descriptors();
}

/* At the end of what a thread does after a restart. */
void audit(int is_checkpoint_thread)
{
    if (!is_checkpoint_thread) {
        __atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL);
        RAW(SYS_futex, &arrived, FUTEX_WAKE, INT_MAX);
        wait_for(&is_released, 1);
        return;
    }
    wait_for(&arrived, suspended - 1);
    check_process();
    check_memory();
    write_differences();
    __atomic_store_n(&is_released, 1, __ATOMIC_RELEASE);
    RAW(SYS_futex, &is_released, FUTEX_WAKE, INT_MAX);
}
