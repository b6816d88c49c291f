/* state KIND STEPS: sets something of the process, then prints what the kernel says of it, once a step. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(call) ((call) == -1 ? (perror(#call), exit(9)) : (void)0)
#define PAGE 4096

static int steps, step;

static void print_file(const char *path, const char *title)
{
    char line[512];
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, title, strlen(title)))
            printf(" %.*s", (int)strcspn(line, "\n"), line);
    if (file)
        fclose(file);
}

static void set_umask(void) { umask(0137); }
static void look_umask(void) { mode_t mask = umask(0); umask(mask); printf(" %o", mask); }

static void set_limits(void)
{
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit one;
        CHECK(getrlimit(i, &one));
        if (i == RLIMIT_NOFILE || i == RLIMIT_CORE || i == RLIMIT_SIGPENDING || i == RLIMIT_MEMLOCK)
            one = (struct rlimit){ 5000, 6000 };
        CHECK(setrlimit(i, &one));
    }
}
static void look_limits(void)
{
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit one;
        CHECK(getrlimit(i, &one));
        printf(" %ld/%ld", (long)one.rlim_cur, (long)one.rlim_max);
    }
}

static void set_priorities(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(1, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one));
    CHECK(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 }));
    /* as high as a user may go who was started with a high one */
    CHECK(setpriority(PRIO_PROCESS, 0, 17));
    CHECK(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
}
static void look_priorities(void)
{
    cpu_set_t now;
    CHECK(sched_getaffinity(0, sizeof now, &now));
    printf(" %d of %d, policy %d, nice %d, io %lx", CPU_ISSET(1, &now), CPU_COUNT(&now), sched_getscheduler(0),
           getpriority(PRIO_PROCESS, 0), syscall(SYS_ioprio_get, 1, 0));
}

static void set_name(void) { CHECK(prctl(PR_SET_NAME, "a name of mine", 0, 0, 0)); }
static void look_name(void)
{
    char name[16];
    CHECK(prctl(PR_GET_NAME, name, 0, 0, 0));
    printf(" %s,", name);
    print_file("/proc/self/comm", "");
}

static void set_settings(void)
{
    CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0));
    /* an ordinary user's engines are refused what hides its memory from that user */
    if (geteuid() == 0)
        CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK(prctl(PR_SET_TIMERSLACK, 123456, 0, 0, 0));
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
}
static void look_settings(void)
{
    int signum = 0, reaper = 0;
    CHECK(prctl(PR_GET_PDEATHSIG, &signum, 0, 0, 0));
    CHECK(prctl(PR_GET_CHILD_SUBREAPER, &reaper, 0, 0, 0));
    printf(" %d %d %d %d %d %d %d", signum, prctl(PR_GET_DUMPABLE), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
           prctl(PR_GET_TIMERSLACK), reaper, prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), prctl(PR_GET_SECUREBITS));
}

static void set_oom(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    CHECK(write(fd, "321", 3));
    close(fd);
}
static void look_oom(void) { print_file("/proc/self/oom_score_adj", ""); }

static void set_personality(void) { CHECK(personality(ADDR_COMPAT_LAYOUT | STICKY_TIMEOUTS)); }
static void look_personality(void) { printf(" %x", personality(0xffffffff)); }

static int flagged[3];
static void set_cloexec(void)
{
    flagged[0] = open("kept.txt", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    flagged[1] = dup(flagged[0]);
    flagged[2] = fcntl(flagged[0], F_DUPFD_CLOEXEC, 50);
}
static void look_cloexec(void)
{
    for (int i = 0; i < 3; i++)
        printf(" %d", fcntl(flagged[i], F_GETFD));
}

static sigset_t held;
static void set_queued(void)
{
    sigemptyset(&held);
    sigaddset(&held, SIGRTMIN + 2);
    sigaddset(&held, SIGRTMIN + 3);
    sigaddset(&held, SIGRTMIN + 4);
    CHECK(sigprocmask(SIG_BLOCK, &held, NULL));
    for (int i = 1; i <= 5; i++)
        CHECK(sigqueue(getpid(), SIGRTMIN + 2 + i % 2, (union sigval){ .sival_int = i }));
    for (int i = 0; i < 3; i++)
        CHECK(-pthread_kill(pthread_self(), SIGRTMIN + 4));
    CHECK(kill(getpid(), SIGRTMIN + 3));
    CHECK(kill(getpid(), SIGRTMIN + 3));
}
static void look_queued(void)
{
    siginfo_t info;
    if (step < steps)
        return;
    while (sigtimedwait(&held, &info, &(struct timespec){ 0 }) > 0)
        printf(" %d=%d", info.si_signo - SIGRTMIN, info.si_code == SI_QUEUE ? info.si_value.sival_int : -1);
}

static volatile sig_atomic_t fired[3];
static const int timer_signals[3] = { SIGALRM, SIGVTALRM, SIGPROF };
static void note(int signum) { fired[signum == SIGALRM ? 0 : signum == SIGVTALRM ? 1 : 2] = 1; }
static void set_timers(void)
{
    for (int i = 0; i < 3; i++) {
        struct sigaction action = { .sa_handler = note, .sa_flags = SA_RESTART };
        CHECK(sigaction(timer_signals[i], &action, NULL));
        CHECK(setitimer(i, &(struct itimerval){ { 0, 40000 }, { 0, 40000 } }, NULL));
    }
}
static void look_timers(void)
{
    struct timespec now;
    fired[0] = fired[1] = fired[2] = 0;
    /* both clocks that a bound could be taken from jump at a restart */
    for (long i = 0; i < 40000000 && !(fired[0] && fired[1] && fired[2]); i++)
        clock_gettime(CLOCK_MONOTONIC, &now);
    for (int i = 0; i < 3; i++) {
        struct itimerval one;
        CHECK(getitimer(i, &one));
        printf(" %d every %ld", fired[i], (long)one.it_interval.tv_usec / 1000);
    }
}

static char *memory;
static void set_memory(void)
{
    memory = mmap(NULL, 9 * 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 1, 9 * 16 * PAGE);
    CHECK(mlock(memory, 16 * PAGE));
    CHECK(madvise(memory + 2 * 16 * PAGE, 16 * PAGE, MADV_DONTFORK));
    CHECK(madvise(memory + 4 * 16 * PAGE, 16 * PAGE, 18 /* MADV_WIPEONFORK */));
    CHECK(madvise(memory + 6 * 16 * PAGE, 16 * PAGE, MADV_DONTDUMP));
    CHECK(madvise(memory + 8 * 16 * PAGE, 16 * PAGE, MADV_SEQUENTIAL));
}
/* Return the flags of the area that has ADDRESS, as in /proc/self/smaps, and where the area begins. */
static const char *flags_at(unsigned long address, unsigned long *begin)
{
    static char line[512];
    unsigned long from, to;
    int is_in = 0;
    FILE *file = fopen("/proc/self/smaps", "r");
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && (is_in = from <= address && address < to))
            *begin = from;
        if (is_in && !strncmp(line, "VmFlags:", 8))
            break;
    }
    fclose(file);
    return line;
}
static void look_memory(void)
{
    for (int part = 0; part < 9; part++) {
        unsigned long begin;
        const char *flags = flags_at((unsigned long)memory + part * 16 * PAGE, &begin);
        printf(" %d", begin == (unsigned long)memory + part * 16 * PAGE);
        for (const char *one = " lo\0 dc\0 wf\0 dd\0 sr\0"; *one; one += 4)
            if (strstr(flags, one))
                printf("%s", one);
    }
}

static void set_locked_future(void) { CHECK(mlockall(MCL_FUTURE)); }
static void look_locked_future(void)
{
    unsigned long begin;
    char *one = mmap(NULL, 64 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf(" locked: %d", strstr(flags_at((unsigned long)one, &begin), " lo") != NULL);
    munmap(one, 64 * PAGE);
}

static pthread_barrier_t turn;
static void *be_thread(void *number)
{
    long mine = (long)number;
    char name[16];
    cpu_set_t one, now;
    snprintf(name, sizeof name, "thread %ld", mine);
    CHECK(prctl(PR_SET_NAME, name, 0, 0, 0));
    CPU_ZERO(&one);
    CPU_SET(mine % 2, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one));
    CHECK(setpriority(PRIO_PROCESS, 0, 12 + (int)mine));
    CHECK(prctl(PR_SET_TIMERSLACK, 60000 + mine, 0, 0, 0));
    for (;;) {
        pthread_barrier_wait(&turn);
        pthread_barrier_wait(&turn);
        for (long i = 0; i < 4; i++) {
            if (i == mine) {
                CHECK(prctl(PR_GET_NAME, name, 0, 0, 0));
                CHECK(sched_getaffinity(0, sizeof now, &now));
                printf(" %s/%d/%d/%d", name, CPU_ISSET(mine % 2, &now) + 10 * CPU_COUNT(&now),
                       getpriority(PRIO_PROCESS, 0), prctl(PR_GET_TIMERSLACK));
            }
            pthread_barrier_wait(&turn);
        }
    }
}
static void set_threads(void)
{
    pthread_t thread;
    pthread_barrier_init(&turn, NULL, 5);
    for (long i = 0; i < 4; i++)
        pthread_create(&thread, NULL, be_thread, (void *)i);
    pthread_barrier_wait(&turn);
}
static void look_threads(void)
{
    for (int i = 0; i < 6; i++)
        pthread_barrier_wait(&turn);
}

static pid_t children[4];
static void set_ended(void)
{
    for (int i = 0; i < 4; i++) {
        CHECK(children[i] = fork());
        if (children[i] == 0 && i < 3)
            _exit(40 + i);
        if (children[i] == 0)
            raise(SIGTERM);
    }
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    CHECK(sigprocmask(SIG_BLOCK, &child, NULL));
    struct timespec pause = { 0, 500000000 };
    nanosleep(&pause, NULL);
    while (sigtimedwait(&child, NULL, &(struct timespec){ 0 }) > 0)
        ;
}
static void look_ended(void)
{
    sigset_t waiting;
    CHECK(sigpending(&waiting));
    printf(" signal waits: %d", sigismember(&waiting, SIGCHLD));
    if (step < steps)
        return;
    for (int i = 3; i >= 0; i--) {
        int status = 0;
        pid_t got = i % 2 ? waitpid(children[i], &status, 0) : waitpid(-1, &status, 0);
        printf(" %d:%x", got > 0, got > 0 ? status : errno);
    }
    printf(" %d", waitpid(-1, NULL, 0) == -1 ? errno : 0);
}

static void set_stopped(void)
{
    int status;
    CHECK(children[0] = fork());
    if (children[0] == 0) {
        raise(SIGSTOP);
        _exit(5);
    }
    CHECK(waitpid(children[0], &status, WUNTRACED));
    printf("stopped by %d\n", WSTOPSIG(status));
}
static void look_stopped(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", children[0]);
    /* for a moment of the checkpoint it runs */
    for (int i = 0; i < 300; i++) {
        char line[256] = "";
        FILE *file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file) && strncmp(line, "State:", 6))
            ;
        if (file)
            fclose(file);
        if (strchr(line, 'T'))
            break;
        usleep(10000);
    }
    print_file(path, "State:");
    if (step == steps) {
        int status;
        CHECK(kill(children[0], SIGCONT));
        CHECK(waitpid(children[0], &status, 0));
        printf(" then %x", status);
    }
}

static int locked;
static void set_file_locks(void)
{
    struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20 };
    struct flock other = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 5 };
    CHECK(locked = open("locked.txt", O_RDWR | O_CREAT, 0600));
    CHECK(fcntl(locked, F_OFD_SETLK, &range));
    CHECK(fcntl(locked, F_SETLK, &other));
}
static void look_file_locks(void)
{
    char path[64], line[256], kind[16], way[16], last[16];
    long from;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", locked);
    FILE *file = fopen(path, "r");
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "lock:\t%*d: %15s %*s %15s %*d %*s %ld %15s", kind, way, &from, last) == 4)
            printf(" %s %s %ld-%s", kind, way, from, last);
    fclose(file);
}

static void set_reserved(void)
{
    size_t size = 256UL << 30;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK((long)memory);
    memory[1000] = 7;
    memory[size - 1000] = 8;
    char *none = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK((long)none);
    CHECK(mprotect(none + PAGE, PAGE, PROT_READ | PROT_WRITE));
    none[PAGE] = 9;
}
static void look_reserved(void)
{
    printf(" %d %d %d", memory[1000], memory[(256UL << 30) - 1000], memory[step * 1000000L]);
    memory[step * 1000000L] = (char)step;
}

static void set_guards(void)
{
    memory = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 5, 64 * PAGE);
    /* a kernel before 6.13 does not know it */
    printf("guarded: %d\n", !madvise(memory + 8 * PAGE, 2 * PAGE, 102 /* MADV_GUARD_INSTALL */));
}
static void look_guards(void)
{
    int fds[2];
    CHECK(pipe(fds));
    for (int page = 6; page < 12; page++) {
        errno = 0;
        ssize_t got = write(fds[1], memory + page * PAGE, 1);
        printf(" %d", got == 1 ? memory[page * PAGE] : -errno);
    }
    close(fds[0]);
    close(fds[1]);
}

static void set_heap(void)
{
    memory = sbrk(1 << 20);
    CHECK((long)memory);
    memset(memory, 3, 1 << 20);
}
static void look_heap(void)
{
    char *more = sbrk(1 << 16);
    memset(more, 4, 1 << 16);
    char *block = malloc(300000);
    memset(block, 1, 300000);
    free(block);
    printf(" %d %d %d", memory[0], memory[(1 << 20) - 1], more[(1 << 16) - 1]);
}

static void set_user(void)
{
    CHECK(chmod(".", 0777));
    CHECK(setresgid(1, 1, 1));
    CHECK(setresuid(1, 2, 1));
}
static void look_user(void)
{
    print_file("/proc/self/status", "Uid:");
    print_file("/proc/self/status", "Gid:");
    print_file("/proc/self/status", "CapEff:");
}

static const struct {
    const char *name;
    void (*set)(void), (*look)(void);
} kinds[] = {
    { "umask", set_umask, look_umask },
    { "limits", set_limits, look_limits },
    { "priorities", set_priorities, look_priorities },
    { "name", set_name, look_name },
    { "settings", set_settings, look_settings },
    { "oom", set_oom, look_oom },
    { "personality", set_personality, look_personality },
    { "cloexec", set_cloexec, look_cloexec },
    { "queued", set_queued, look_queued },
    { "timers", set_timers, look_timers },
    { "memory", set_memory, look_memory },
    { "locked-future", set_locked_future, look_locked_future },
    { "threads", set_threads, look_threads },
    { "ended", set_ended, look_ended },
    { "stopped", set_stopped, look_stopped },
    { "file-locks", set_file_locks, look_file_locks },
    { "reserved", set_reserved, look_reserved },
    { "guards", set_guards, look_guards },
    { "heap", set_heap, look_heap },
    { "user", set_user, look_user },
};

int main(int count, char **words)
{
    int kind = 0, kinds_count = sizeof kinds / sizeof *kinds;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (kind < kinds_count && count == 3 && strcmp(words[1], kinds[kind].name))
        kind++;
    if (count != 3 || kind == kinds_count)
        return 2;
    steps = atoi(words[2]);
    kinds[kind].set();
    for (step = 1; step <= steps; step++) {
        printf("%d", step);
        kinds[kind].look();
        printf("\n");
        struct timespec pause = { 0, 100000000 };
        while (nanosleep(&pause, &pause) && errno == EINTR)
            ;
    }
    return 0;
}
