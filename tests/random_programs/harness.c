/* What every random C program begins with: it does steps, and after each it checks the kernel against its model.
 *
 * Words: PAUSE_US KEY HOLD GO. Between two steps it pauses. Before step HOLD it waits until file GO exists, and
 * again before the step that GO names; -1 never.
 * KEY names what is not a file: System V and POSIX objects. A step is done by an actor: the program itself, a child or
 * a thread. Models are zero at first, in each process; those of threads are their own. The kinds of steps follow, then
 * the tables. Ends with RIGHT, or with DIFFERS after the first line that says what differs. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <grp.h>
#include <limits.h>
#include <linux/futex.h>
#include <locale.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"

enum { RIGHT = 42, DIFFERS = 13, PAGE = 4096, CHECK = -1, QUIT = -2, ACTORS = 5, CHILDREN = 3, PATIENCE_S = 20 };
#define MODEL static __attribute__((section("models")))
#define OWN static __thread
#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define PICK(n, ...) (((const long[]){__VA_ARGS__})[(n) % COUNT(((const long[]){__VA_ARGS__}))])

struct kind { const char *name; void (*act)(unsigned); void (*check)(void); void (*end)(void); int needs; };
struct step { int kind, actor; unsigned n; };
struct actor { int is_there, to, from; pid_t pid; pthread_t thread; };
struct ends { int number, to, from; };

extern char __start_models[], __stop_models[];
MODEL int no_kind_has_a_model __attribute__((used));
static const char *const actor_names[ACTORS] = {"main", "child 1", "child 2", "thread 1", "thread 2"};
static struct actor actors[ACTORS];
static char base[PATH_MAX / 2];
static const char *go_file;
static long pause_us, key;
static int hold;
static volatile int differences;
static __thread int me;
static __thread const char *checked = "?";

/* words */

static void write_all(int fd, const void *data, size_t size)
{
    for (const char *at = data; size;) {
        ssize_t done = write(fd, at, size);
        if (done < 0 && errno != EINTR)
            _exit(99);
        if (done > 0)
            at += done, size -= (size_t)done;
    }
}

static int read_all(int fd, void *data, size_t size)
{
    for (char *at = data; size;) {
        ssize_t done = read(fd, at, size);
        if (done == 0 || (done < 0 && errno != EINTR))
            return 0;
        if (done > 0)
            at += done, size -= (size_t)done;
    }
    return 1;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[512];
    va_list rest;
    va_start(rest, format);
    vsnprintf(line, sizeof line, format, rest);
    va_end(rest);
    write_all(1, line, strlen(line));
}

__attribute__((format(printf, 1, 2))) static void differ(const char *format, ...)
{
    char line[300];
    va_list rest;
    va_start(rest, format);
    vsnprintf(line, sizeof line, format, rest);
    va_end(rest);
    differences++;
    say("DIFFERS %s: %s: %s\n", actor_names[me], checked, line);
}

static void same(const char *what, long found, long wanted)
{
    if (found != wanted)
        differ("%s is %ld, not %ld", what, found, wanted);
}

static void same_bytes(const char *what, const void *found, const void *wanted, size_t size)
{
    const unsigned char *one = found, *two = wanted;
    for (size_t i = 0; i < size; i++)
        if (one[i] != two[i]) {
            differ("%s: byte %zu of %zu is %d, not %d", what, i, size, one[i], two[i]);
            return;
        }
}

static long must(const char *what, long result)
{
    if (result == -1)
        differ("%s: %s", what, strerror(errno));
    return result;
}
#define MUST(call) must(#call, (long)(call))

/* what kinds use */

static void fill(void *data, size_t size, unsigned n)
{
    unsigned char *at = data;
    for (size_t i = 0; i < size; i++) {
        n = n * 1103515245u + 12345u;
        at[i] = (unsigned char)(n >> 16);
    }
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void nap(long us)
{
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&left, &left) && errno == EINTR) {}
}

#define WAIT_UNTIL(condition, what) do { double until_ = seconds(CLOCK_MONOTONIC) + PATIENCE_S; \
    while (!(condition)) { if (seconds(CLOCK_MONOTONIC) > until_) { differ("%s: waited in vain", what); break; } \
        nap(1000); } } while (0)

/* what takes time is checked at each eighth check, and at the last */
static int is_last;
#define IS_TURN ({ static unsigned turns_; is_last || ++turns_ % 8 == 0; })

static const char *in_base(const char *format, int n)
{
    static __thread char path[2][PATH_MAX];
    static __thread int turn;
    turn = !turn;
    size_t used = (size_t)snprintf(path[turn], sizeof path[turn], "%s/", base);
    snprintf(path[turn] + used, sizeof path[turn] - used, format, n);
    return path[turn];
}

static int text_of(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    for (ssize_t got; fd >= 0 && used + 1 < size && ((got = read(fd, text + used, size - 1 - used)) > 0 ||
        (got < 0 && errno == EINTR));)
        used += got > 0 ? (size_t)got : 0;
    text[used] = 0;
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static pid_t wait_for(pid_t pid, int *status, int flags)
{
    pid_t found;
    while ((found = waitpid(pid, status, flags)) < 0 && errno == EINTR) {}
    return found;
}

static void kill_child(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    wait_for(pid, &status, 0);
}

static void set_signal(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    MUST(sigaction(number, &action, NULL));
}

/* signals that are taken, not handled: blocked before there is a thread, as any thread could get them */
static void block_taken(void)
{
    sigset_t taken;
    sigemptyset(&taken);
    sigaddset(&taken, SIGIO);
    for (int number = SIGRTMIN + 3; number <= SIGRTMIN + 7; number++)
        if (number != SIGRTMIN + 4)
            sigaddset(&taken, number);
    pthread_sigmask(SIG_BLOCK, &taken, NULL);
}
