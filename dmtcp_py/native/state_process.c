/* What all threads of a process share: interval timers, umask, limits, flags of descriptors; part of the plugin `state`.

   Called in DMTCP's checkpoint thread while all others are suspended. */

#define _GNU_SOURCE
#include <dirent.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "state.h"

#define TIMERS 3
#define OOM_SCORE "/proc/self/oom_score_adj"

static struct itimerval timers[TIMERS];
static mode_t mask;
static struct {
    rlim_t soft, hard;
    int is_known;
} limits[RLIM_NLIMITS];
static char oom_score[16];
static long subreaper, no_huge_pages;
static uint64_t handled[2]; /* the signals that are ignored and caught, in /proc/self/status */

/* Stop the timers, which otherwise run on while the image is written, and remember what was left. */
static void stop_timers(void)
{
    static const struct itimerval none;
    for (int i = 0; i < TIMERS; i++) {
        RAW(SYS_setitimer, i, &none, &timers[i]);
        /* its signal waits, and the timer would have been started again when that is delivered */
        if (!timers[i].it_value.tv_sec && !timers[i].it_value.tv_usec)
            timers[i].it_value = timers[i].it_interval;
    }
}

/* DMTCP itself starts the one for real time again, but only once, and in whole seconds. */
void go_on_with_timers(void)
{
    for (int i = 0; i < TIMERS; i++)
        if (timers[i].it_value.tv_sec || timers[i].it_value.tv_usec)
            RAW(SYS_setitimer, i, &timers[i], NULL);
}

static void record_limits(void)
{
    for (int i = 0; i < RLIM_NLIMITS; i++)
        limits[i].is_known = !RAW(SYS_prlimit64, 0, i, NULL, &limits[i]);
}

static void put_back_limits(void)
{
    struct rlimit64 now;
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        if (!limits[i].is_known || RAW(SYS_prlimit64, 0, i, &limits[i], NULL) >= 0)
            continue;
        /* without privileges the hard limit of this attempt is the most that there is */
        if (RAW(SYS_prlimit64, 0, i, NULL, &now) < 0)
            continue;
        now.rlim_max = limits[i].hard < now.rlim_max ? limits[i].hard : now.rlim_max;
        now.rlim_cur = limits[i].soft < now.rlim_max ? limits[i].soft : now.rlim_max;
        RAW(SYS_prlimit64, 0, i, &now, NULL);
    }
}

int folder_being_read = -1;

void each_entry(const char *path, void (*look)(int number))
{
    static char block[8192] __attribute__((aligned(8)));
    int folder = folder_being_read = raw_open(path, O_RDONLY | O_DIRECTORY, 0);
    for (long got; folder >= 0 && (got = RAW(SYS_getdents64, folder, block, sizeof block)) > 0;)
        for (long at = 0; at < got;) {
            const struct dirent64 *one = (const void *)(block + at);
            if (one->d_name[0] != '.')
                look(atoi(one->d_name));
            at += one->d_reclen;
        }
    if (folder >= 0)
        RAW(SYS_close, folder);
}

static void record_oom_score(void)
{
    int fd = raw_open(OOM_SCORE, O_RDONLY, 0);
    long got = fd < 0 ? 0 : RAW(SYS_read, fd, oom_score, sizeof oom_score);
    oom_score[got > 0 && got < (long)sizeof oom_score ? got : 0] = 0;
    if (fd >= 0)
        RAW(SYS_close, fd);
}

static void put_back_oom_score(void)
{
    char now[sizeof oom_score] = "";
    int fd = raw_open(OOM_SCORE, O_RDWR, 0);
    if (fd < 0)
        return;
    if (oom_score[0] && RAW(SYS_read, fd, now, sizeof now - 1) > 0 && strcmp(now, oom_score) != 0)
        RAW(SYS_pwrite64, fd, oom_score, strlen(oom_score), 0);
    RAW(SYS_close, fd);
}

static long get_subreaper(void)
{
    int answer = 0;
    return RAW(SYS_prctl, PR_GET_CHILD_SUBREAPER, &answer, 0, 0, 0) < 0 ? -1 : answer;
}

static void read_handled(uint64_t *found)
{
    static const char *const titles[] = { "SigIgn:\t", "SigCgt:\t" };
    static struct lines file;
    char line[64];
    file = (struct lines){ .fd = raw_open("/proc/self/status", O_RDONLY, 0) };
    while (file.fd >= 0 && next_line(&file, line, sizeof line))
        for (int i = 0; i < 2; i++)
            if (!strncmp(line, titles[i], strlen(titles[i])))
                found[i] = strtoul(line + strlen(titles[i]), NULL, 16);
    if (file.fd >= 0)
        RAW(SYS_close, file.fd);
}

void record_process(void)
{
    stop_timers();
    mask = (mode_t)RAW(SYS_umask, 0);
    RAW(SYS_umask, mask);
    record_limits();
    record_oom_score();
    subreaper = get_subreaper();
    no_huge_pages = RAW(SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0);
    read_handled(handled);
    record_settings();
    record_names();
}

void put_back_process(void)
{
    put_back_settings();
    put_back_names();
    RAW(SYS_umask, mask);
    put_back_oom_score();
    if (subreaper > 0)
        RAW(SYS_prctl, PR_SET_CHILD_SUBREAPER, subreaper, 0, 0, 0);
    if (no_huge_pages > 0)
        RAW(SYS_prctl, PR_SET_THP_DISABLE, 1, 0, 0, 0);
    put_back_limits();
}

static void check_limits(void)
{
    struct rlimit64 now;
    for (int i = 0; i < RLIM_NLIMITS; i++)
        if (limits[i].is_known && !RAW(SYS_prlimit64, 0, i, NULL, &now)) {
            check("soft limit", i, (long)limits[i].soft, (long)now.rlim_cur);
            check("hard limit", i, (long)limits[i].hard, (long)now.rlim_max);
        }
}

static void check_timers(void)
{
    struct itimerval now;
    for (int i = 0; i < TIMERS; i++) {
        memset(&now, 0, sizeof now);
        RAW(SYS_getitimer, i, &now);
        check("seconds of interval timer", i, timers[i].it_interval.tv_sec, now.it_interval.tv_sec);
        check("microseconds of interval timer", i, timers[i].it_interval.tv_usec, now.it_interval.tv_usec);
    }
}

void check_process(void)
{
    char oom_score_was[sizeof oom_score];
    uint64_t now[2] = { 0, 0 };
    mode_t mask_is = (mode_t)RAW(SYS_umask, mask);
    check("umask", -1, mask, mask_is);
    check_limits();
    check_timers();
    memcpy(oom_score_was, oom_score, sizeof oom_score);
    record_oom_score();
    check("oom_score_adj", -1, atol(oom_score_was), atol(oom_score));
    check("prctl setting", PR_SET_CHILD_SUBREAPER, subreaper, get_subreaper());
    check("prctl setting", PR_SET_THP_DISABLE, no_huge_pages, RAW(SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0));
    read_handled(now);
    check("ignored signals", -1, (long)handled[0], (long)now[0]);
    check("caught signals", -1, (long)handled[1], (long)now[1]);
    check_settings();
}
