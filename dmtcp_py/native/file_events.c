/* What the plugin `files` does at DMTCP's events: begins the part of the journal, and waits for copies.

   Also how it becomes a plugin of DMTCP 3.2, 4.2 and 5.0, which number these events alike. */

#define _GNU_SOURCE
#include <string.h>
#include <time.h>

#include "files.h"
#include "journal.h"
#include "plugin.h"

#define MOST_HOLD_S 20
#define PAUSE_NS 1000000

void dmtcp_register_plugin(struct plugin);
void dmtcp_initialize_plugin(void);

static const char *api; /* the version of the plugin interface that this DMTCP has */

/* Begin the part that was made ready. All processes are suspended; the first to come here does it for all. */
static void begin_part(void)
{
    find_journal();
    if (journal_folder[0])
        RAW(SYS_renameat2, AT_FDCWD, next_path, AT_FDCWD, now_path, 0);
}

/* Stay suspended while the supervisor copies files; not for ever, because it may have died. */
static void wait_for_copies(void)
{
    struct stat found;
    struct timespec pause = { 0, PAUSE_NS }, since, at;
    RAW(SYS_clock_gettime, CLOCK_MONOTONIC, &since);
    do {
        RAW(SYS_clock_gettime, CLOCK_MONOTONIC, &at);
        if (!journal_folder[0] || raw_stat(AT_FDCWD, hold_path, 0, &found))
            return;
        RAW(SYS_nanosleep, &pause, NULL);
    } while (at.tv_sec - since.tv_sec < MOST_HOLD_S);
}

static void on_event(int event, void *data)
{
    (void)data;
    if (event != THREAD_GOES_ON)
        current_part = 0;
    if (event == BEFORE_IMAGES) {
        is_suspended = 1;
        begin_part();
    } else if (event == AFTER_IMAGES) {
        wait_for_copies();
        is_suspended = 0;
    } else if (event == AFTER_RESTART) {
        is_suspended = is_journal_known = 0;
    }
}

/* DMTCP's own plugins register through this function, and state the interface's version: DMTCP accepts no other. */
void dmtcp_register_plugin(struct plugin one)
{
    FIND(dmtcp_register_plugin);
    api = one.api;
    if (next)
        next(one);
}

void dmtcp_initialize_plugin(void)
{
    void (*next)(void) = (void (*)(void))below("dmtcp_initialize_plugin");
    if (next)
        next();
    struct plugin self = { api, "3", "files", "dmtcp-py", "-", "records what is done to files", on_event };
    /* a later interface may have other numbers of events */
    has_events = api && (!strcmp(api, "3") || !strcmp(api, "4"));
    if (has_events)
        dmtcp_register_plugin(self);
}
