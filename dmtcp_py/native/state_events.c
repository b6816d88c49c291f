/* What DMTCP (3.2, 4.2, 5.0) forgets of a process and its threads; loaded into programs as a plugin.

   DMTCP's images contain memory, open files and some of the rest. This plugin records before the image what they do not
   contain, and puts it back after the restart, before a thread of the program runs: timers, masks, limits and
   priorities, names, settings of prctl(), queued signals, advice on memory, children that have ended. What cannot be put
   back is found by the comparison from outside (dmtcp_py/state/).

   What belongs to one thread is recorded and put back in that thread. DMTCP has an event in each thread after the
   restart, and none before the image; but it calls sigpending() in each thread that it suspends.

   What several processes share is put back when DMTCP has restored all of them, and compared when all have put it back;
   none runs before all have compared.

   This plugin registers before DMTCP's own: it then comes first before the image, when timers still run, and last after
   the restart, when DMTCP has done what it does. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <link.h>

#include "plugin.h"
#include "state.h"
#include "undone.h"

extern void *dmtcp_dlsym(void *handle, const char *symbol) __attribute__((weak));
void dmtcp_register_plugin(struct plugin) __attribute__((weak));
extern void dmtcp_global_barrier(const char *name) __attribute__((weak));
void dmtcp_initialize_plugin(void);
int sigpending(sigset_t *pending);

volatile int is_suspending;

static struct {
    uintptr_t from, to;
} dmtcp; /* where DMTCP's library is in memory */

void *next_function(const char *name)
{
    return dmtcp_dlsym ? dmtcp_dlsym(RTLD_NEXT, name) : dlsym(RTLD_NEXT, name);
}

int open_ours(const char *name)
{
    static char path[PATH_MAX];
    if (!dmtcp_get_tmpdir)
        return -ENOENT;
    /* DMTCP makes its temporary folder in the one that we pass to it */
    snprintf(path, sizeof path, "%s/../%s", dmtcp_get_tmpdir(), name);
    return raw_open(path, O_RDONLY, 0);
}

/* Wait until all processes of the computation have come so far. */
static void await_others(const char *what)
{
    char name[32];
    snprintf(name, sizeof name, "dmtcp-run: %s", what);
    if (dmtcp_global_barrier)
        dmtcp_global_barrier(name);
}

static void on_event(int event, void *data)
{
    (void)data;
    switch (event) {
    case BEGIN:
        reserve_numbers();
        break;
    case IN_CHILD:
        forget_clocks();
        forget_all_undone();
        break;
    case BEFORE_SUSPENSION:
        send_at_once();
        forget_queued();
        begin_count();
        forget_threads();
        find_restore();
        is_suspending = 1;
        break;
    case BEFORE_IMAGES:
        note_checkpoint_thread();
        record_process();
        record_clocks();
        record_descriptors();
        read_inherited_cpus();
        record_memory();
        record_children();
        record_locks();
        record_undone();
        begin_audit();
        await_others("recorded"); /* while DMTCP saves files, it moves in them */
        remove_guards();
        tell_other_names(1);
        break;
    case AFTER_IMAGES:
        is_suspending = 0;
        tell_other_names(0);
        install_guards();
        put_back_queued(0);
        go_on_with_timers();
        reserve_numbers();
        break;
    case AFTER_RESTART:
        send_at_once();
        is_suspending = 0;
        tell_other_names(0);
        install_guards();
        put_back_memory();
        put_back_process();
        put_back_clocks();
        await_others("restored");
        put_back_descriptors();
        put_back_children();
        put_back_queued(1);
        put_back_undone();
        put_back_locks();
        go_on_with_timers();
        reserve_numbers();
        await_others("put back");
        audit_shared();
        await_others("compared");
        break;
    case RUNS:
        stop_again(0);
        break;
    case THREAD_GOES_ON:
        put_back_thread();
        if (!is_checkpoint_thread())
            open_own_descriptors();
        audit(is_checkpoint_thread());
        stop_again(1);
        break;
    default:
        break;
    }
}

static int find_range(struct dl_phdr_info *info, size_t size, void *inside)
{
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && (uintptr_t)inside >= from && (uintptr_t)inside < from + part->p_memsz) {
            dmtcp.from = from;
            dmtcp.to = from + part->p_memsz;
            return 1;
        }
    }
    return 0;
}

int is_dmtcps(uintptr_t caller)
{
    if (!dmtcp.to && dmtcp_get_ckpt_signal)
        dl_iterate_phdr(find_range, (void *)dmtcp_get_ckpt_signal);
    return caller >= dmtcp.from && caller < dmtcp.to;
}

/* Register before DMTCP's own plugins, with the version of the interface; a later one may have other numbers of events. */
void dmtcp_initialize_plugin(void)
{
    void (*next)(void) = (void (*)(void))next_function("dmtcp_initialize_plugin");
    const char *api = dmtcp_pid_real_to_virtual ? "4" : dmtcp_real_to_virtual_pid ? "3" : NULL;
    find_clocks();
    is_dmtcps(0); /* finds where it is, while the loader's lock is free */
    if (api && dmtcp_register_plugin) {
        dmtcp_register_plugin((struct plugin){ api, "3", "state", "dmtcp-py", "-", "keeps what DMTCP forgets", on_event });
    }
    if (next)
        next();
}

/* DMTCP calls it in each thread that it suspends, with all signals blocked. */
int sigpending(sigset_t *pending)
{
    static int (*next)(sigset_t *);
    if (is_suspending && is_dmtcps((uintptr_t)__builtin_return_address(0))) {
        record_thread();
        memset(pending, 0, sizeof *pending);
        RAW(SYS_rt_sigpending, pending, _NSIG / 8);
        return 0;
    }
    if (!next)
        next = (int (*)(sigset_t *))next_function("sigpending");
    return next(pending);
}
