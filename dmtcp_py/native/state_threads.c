/* What each thread has for itself: name, priorities, processors, settings of prctl(); part of the plugin `state`.

   Processors are put back only if the program chose them: those that dmtcp-run was given by the batch system may be
   others in the next attempt. dmtcp-run writes its own to a file. */

#define _GNU_SOURCE
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>

#include "state.h"

#define MOST_CPUS 8192
#define MOST_GROUPS 65536 /* as the kernel has it */
#define WORDS (MOST_CPUS / 64)
#define ANSWERS_BY_POINTER 1
#define IO_FLUSHER_SET 57
#define IO_FLUSHER_GET 58

/* struct sched_attr of the kernel, of which libraries have different ideas */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static const struct {
    int get, set, by_pointer;
} settings[] = {
    { PR_GET_TIMERSLACK, PR_SET_TIMERSLACK, 0 },
    { PR_GET_TSC, PR_SET_TSC, ANSWERS_BY_POINTER },
    { PR_GET_SECUREBITS, PR_SET_SECUREBITS, 0 },
    { PR_MCE_KILL_GET, PR_MCE_KILL, 0 },
    { IO_FLUSHER_GET, IO_FLUSHER_SET, 0 },
    { PR_GET_NO_NEW_PRIVS, PR_SET_NO_NEW_PRIVS, 0 },
    { PR_GET_PDEATHSIG, PR_SET_PDEATHSIG, ANSWERS_BY_POINTER },
    { PR_GET_DUMPABLE, PR_SET_DUMPABLE, 0 }, /* last: the process's, and other changes reset it */
};

#define SETTINGS ((int)(sizeof settings / sizeof *settings))

struct thread_state {
    struct thread_state *next; /* of those that are suspended */
    int is_known, tid;
    char name[16];
    struct scheduling scheduling;
    long io_priority, personality;
    long settings[SETTINGS];
    unsigned users[3], groups[3];
    struct __user_cap_data_struct capabilities[_LINUX_CAPABILITY_U32S_3];
    uint64_t bounding, ambient; /* capabilities */
    long cpu_bytes;
    uint64_t cpus[WORDS];
};

static unsigned other_groups[MOST_GROUPS]; /* all threads have the same, by the C library's setgroups() */
static long other_group_count = -1;
static __thread struct thread_state mine __attribute__((tls_model("initial-exec")));
static struct thread_state *recorded_threads;
static uint64_t inherited_cpus[WORDS];
static int is_inherited_known;
static const void *checkpoint_thread;

/* Read the processors of dmtcp-run: words of 16 hexadecimal digits, the lowest first. */
void read_inherited_cpus(void)
{
    char text[17 * WORDS];
    int fd = open_ours("processors");
    long got = fd < 0 ? 0 : RAW(SYS_read, fd, text, sizeof text);
    if (fd >= 0)
        RAW(SYS_close, fd);
    memset(inherited_cpus, 0, sizeof inherited_cpus);
    is_inherited_known = got > 0;
    int word = 0;
    for (long i = 0; i < got && word < WORDS; i++) {
        char one = text[i];
        if (one == '\n')
            word++;
        else
            inherited_cpus[word] = inherited_cpus[word] << 4 | (uint64_t)(one <= '9' ? one - '0' : one - 'a' + 10);
    }
}

static long ask(int setting)
{
    int answer = 0;
    if (!settings[setting].by_pointer)
        return RAW(SYS_prctl, settings[setting].get, 0, 0, 0, 0);
    long failure = RAW(SYS_prctl, settings[setting].get, &answer, 0, 0, 0);
    return failure < 0 ? failure : answer;
}

static void read_capabilities(struct __user_cap_data_struct *found)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    memset(found, 0, sizeof mine.capabilities);
    RAW(SYS_capget, &header, found);
}

static uint64_t capabilities_by(int option, int what)
{
    uint64_t found = 0;
    long answer;
    for (int i = 0; i < 64; i++) {
        /* the number of the capability comes before or after the question */
        answer = what ? RAW(SYS_prctl, option, what, i, 0, 0) : RAW(SYS_prctl, option, i, 0, 0, 0);
        if (answer < 0)
            break;
        found |= (uint64_t)(answer > 0) << i;
    }
    return found;
}

static void read_thread(struct thread_state *thread)
{
    RAW(SYS_prctl, PR_GET_NAME, thread->name, 0, 0, 0);
    RAW(SYS_sched_getattr, 0, &thread->scheduling, sizeof thread->scheduling, 0);
    thread->io_priority = RAW(SYS_ioprio_get, 1, 0);
    thread->personality = RAW(SYS_personality, 0xffffffff);
    for (int i = 0; i < SETTINGS; i++)
        thread->settings[i] = ask(i);
    RAW(SYS_getresuid, &thread->users[0], &thread->users[1], &thread->users[2]);
    RAW(SYS_getresgid, &thread->groups[0], &thread->groups[1], &thread->groups[2]);
    read_capabilities(thread->capabilities);
    thread->bounding = capabilities_by(PR_CAPBSET_READ, 0);
    thread->ambient = capabilities_by(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET);
    memset(thread->cpus, 0, sizeof thread->cpus);
    thread->cpu_bytes = RAW(SYS_sched_getaffinity, 0, sizeof thread->cpus, thread->cpus);
}

static volatile int turn;

static void take_turn(void)
{
    while (__atomic_exchange_n(&turn, 1, __ATOMIC_ACQUIRE))
        RAW(SYS_sched_yield);
}

static void end_turn(void)
{
    __atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
}

/* The first thread's: DMTCP's own thread may have others, as it does not take part in setgroups(). */
static void record_groups(void)
{
    if (RAW(SYS_gettid) == RAW(SYS_getpid))
        other_group_count = RAW(SYS_getgroups, MOST_GROUPS, other_groups);
}

static int has_same_groups(void)
{
    static unsigned now[MOST_GROUPS];
    take_turn();
    long count = RAW(SYS_getgroups, MOST_GROUPS, now);
    int is_same = other_group_count < 0 || (count == other_group_count && !memcmp(now, other_groups, (size_t)count * sizeof *now));
    end_turn();
    return is_same;
}

static int has_chosen_cpus(void)
{
    return is_inherited_known && mine.cpu_bytes > 0 && memcmp(mine.cpus, inherited_cpus, sizeof mine.cpus) != 0;
}

static void compare(const struct thread_state *was, const struct thread_state *now)
{
    check("scheduling policy", -1, was->scheduling.policy, now->scheduling.policy);
    check("scheduling priority", -1, was->scheduling.priority, now->scheduling.priority);
    check("nice", -1, was->scheduling.nice, now->scheduling.nice);
    check("I/O priority", -1, was->io_priority, now->io_priority);
    check("personality", -1, was->personality, now->personality);
    for (int i = 0; i < SETTINGS; i++)
        check("prctl setting", settings[i].set, was->settings[i], now->settings[i]);
    for (int i = 0; i < 3; i++) {
        check("uid", i, was->users[i], now->users[i]);
        check("gid", i, was->groups[i], now->groups[i]);
    }
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        check("capabilities", i, was->capabilities[i].effective, now->capabilities[i].effective);
    /* this attempt may have fewer from the start, and none can be added */
    check("bounding capabilities", -1, (long)was->bounding, (long)(was->bounding | now->bounding));
    check("ambient capabilities", -1, (long)was->ambient, (long)now->ambient);
}

static void check_thread(void)
{
    static struct thread_state now;
    check("supplementary groups", -1, 1, has_same_groups());
    take_turn();
    memset(&now, 0, sizeof now);
    read_thread(&now);
    check("name of a thread", -1, 0, strncmp(mine.name, now.name, sizeof now.name) != 0);
    compare(&mine, &now);
    if (has_chosen_cpus())
        check("processors", -1, 0, memcmp(mine.cpus, now.cpus, sizeof now.cpus) != 0);
    end_turn();
}

/* Write down, before the image, what the threads are. */
void list_threads(void)
{
    for (const struct thread_state *one = recorded_threads; one; one = one->next) {
        record_number("thread", -1, one->tid);
        record_text("name of a thread", one->name);
        compare(one, one);
    }
}

void forget_threads(void)
{
    recorded_threads = NULL;
}

void record_thread(void)
{
    read_thread(&mine);
    mine.is_known = 1;
    mine.tid = (int)RAW(SYS_gettid);
    mine.next = __atomic_load_n(&recorded_threads, __ATOMIC_ACQUIRE);
    while (!__atomic_compare_exchange_n(&recorded_threads, &mine.next, &mine, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        ;
    record_groups();
    record_clocks_of_thread();
    count_thread();
    take_queued(&mine);
}

static void put_back_scheduling(void)
{
    struct scheduling now;
    memset(&now, 0, sizeof now);
    RAW(SYS_sched_getattr, 0, &now, sizeof now, 0);
    if (memcmp(&now, &mine.scheduling, sizeof now) != 0)
        RAW(SYS_sched_setattr, 0, &mine.scheduling, 0);
    if (mine.io_priority >= 0 && RAW(SYS_ioprio_get, 1, 0) != mine.io_priority)
        RAW(SYS_ioprio_set, 1, 0, mine.io_priority);
    if (has_chosen_cpus())
        RAW(SYS_sched_setaffinity, 0, mine.cpu_bytes, mine.cpus);
}

static void put_back_rights(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3];
    unsigned users[3], groups[3];
    uint64_t surplus = capabilities_by(PR_CAPBSET_READ, 0) & ~mine.bounding;
    for (int i = 0; surplus >> i; i++)
        if (surplus >> i & 1)
            RAW(SYS_prctl, PR_CAPBSET_DROP, i, 0, 0, 0);
    RAW(SYS_getresgid, &groups[0], &groups[1], &groups[2]);
    RAW(SYS_getresuid, &users[0], &users[1], &users[2]);
    if (!has_same_groups())
        RAW(SYS_setgroups, other_group_count, other_groups);
    if (memcmp(groups, mine.groups, sizeof groups) != 0)
        RAW(SYS_setresgid, mine.groups[0], mine.groups[1], mine.groups[2]);
    if (memcmp(users, mine.users, sizeof users) != 0)
        RAW(SYS_setresuid, mine.users[0], mine.users[1], mine.users[2]);
    read_capabilities(now);
    if (memcmp(now, mine.capabilities, sizeof now) != 0)
        RAW(SYS_capset, &header, mine.capabilities);
    for (int i = 0; mine.ambient >> i; i++)
        if (mine.ambient >> i & 1)
            RAW(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0);
}

static void put_back_setting(int which, long value)
{
    if (which == PR_MCE_KILL)
        RAW(SYS_prctl, which, PR_MCE_KILL_SET, value, 0, 0);
    else if (RAW(SYS_prctl, which, value, 0, 0, 0) < 0 && which == PR_SET_SECUREBITS)
        /* the one of them for which no privilege is needed */
        RAW(SYS_prctl, PR_SET_KEEPCAPS, value >> SECURE_KEEP_CAPS & 1, 0, 0, 0);
}

void put_back_thread(void)
{
    if (!mine.is_known)
        return;
    put_back_queued_of(&mine);
    put_back_clocks_of_thread();
    RAW(SYS_prctl, PR_SET_NAME, mine.name, 0, 0, 0);
    put_back_scheduling();
    if (mine.personality >= 0 && RAW(SYS_personality, 0xffffffff) != mine.personality)
        RAW(SYS_personality, mine.personality);
    put_back_rights();
    for (int i = 0; i < SETTINGS; i++)
        if (mine.settings[i] >= 0 && ask(i) != mine.settings[i])
            put_back_setting(settings[i].set, mine.settings[i]);
    check_thread();
}

/* Remember this thread as the one in which DMTCP calls this plugin before the image. */
void note_checkpoint_thread(void)
{
    checkpoint_thread = &mine;
}

int is_checkpoint_thread(void)
{
    return checkpoint_thread == &mine;
}
