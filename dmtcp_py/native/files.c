/* What a program does to files by their names, noted before it is done, so that it can be undone; loaded into it by
   DMTCP as a plugin (3.2, 4.2, 5.0), or by LD_PRELOAD.

   The folder with the notes has a link "now" to the part that began at the last checkpoint: a list, and copies. Before
   the first change of a file in a part its state is written down: that it was not there; its size, where it is only
   appended to; a copy, for anything else. dmtcp_py/engine/undo.py reads it and says what each line means. A line is
   written before what it tells of is done, and once a part for a file (by its inode) and for a name (by its folder's).
   Where it cannot be written, the name goes into "lost", and nothing goes back over this part.

   A checkpoint begins a new part while all processes are suspended: by the event of DMTCP here, with CRIU outside. It
   never comes between a note and what it is of: DMTCP's lock of its wrappers is held, or else a lock on the gate, which
   who takes the image takes alone.

   Nothing here may use what DMTCP or the program wrap: system calls alone, no malloc(), little of the stack. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 65536
#define MOST_SLOTS 49152
#define MOST_LIST (64L << 20)
#define MOST_READ (4L << 20)
#define MOST_COPIED (64L << 20)
#define LEAST_FREE (64L << 20)
#define LINE (2 * PATH_MAX + 256)
#define PART 32
#define BLOCK (1L << 18)

/* DMTCP's own, where it is there */
extern void *dmtcp_dlsym(void *handle, const char *symbol) __attribute__((weak));
extern int dmtcp_plugin_disable_ckpt(void) __attribute__((weak));
extern void dmtcp_plugin_enable_ckpt(void) __attribute__((weak));
extern const char *dmtcp_get_ckpt_dir(void) __attribute__((weak));
extern int dmtcp_get_ckpt_signal(void) __attribute__((weak));

static void *below(const char *name)
{
    if (!dmtcp_dlsym)
        return dlsym(RTLD_NEXT, name);
    return dmtcp_dlsym(RTLD_NEXT, name); /* looks from where it returns to: the layer below this one */
}

#define FIND(name)                                  \
    static __typeof__(name) *next;                  \
    if (!next)                                      \
        next = (__typeof__(name) *)below(#name)

static char job[PATH_MAX];  /* what is in here is not the program's */
static char root[PATH_MAX]; /* where the notes are; empty where there are none */
static volatile int has_begun;
static uint64_t noted[SLOTS]; /* hashes of what was noted; that of the part is in them */
static unsigned count;
static unsigned whole_part; /* what was noted in it by others is known too */
static volatile int is_suspended, is_told; /* by DMTCP's events */
static volatile unsigned part_now;         /* where DMTCP's events tell of the next one; 0: look */

enum { APPENDED = 1, CHANGED = 2, NAMED = 3 };
enum { MAYBE = 1, ONLY = 2, THROUGH = 3 }; /* may be made; is made, or fails; is made, at the end of links */

/* names are long, and stacks of threads may be small: taken from the kernel while it is needed */
struct room {
    char name[PATH_MAX], real[PATH_MAX], other[PATH_MAX], line[LINE];
};

/* --- system calls alone; each returns minus errno where it fails, and leaves errno as it was ------------------- */

#define RAW(...)                                    \
    ({                                              \
        int kept_ = errno;                          \
        long result_ = syscall(__VA_ARGS__);        \
        if (result_ == -1)                          \
            result_ = -errno;                       \
        errno = kept_;                              \
        result_;                                    \
    })

static int raw_open(const char *path, int flags, mode_t mode)
{
    return (int)RAW(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

static int raw_stat(int dir, const char *path, int flags, struct stat *found)
{
    return (int)RAW(SYS_newfstatat, dir, path, found, flags);
}

static void *raw_map(size_t size, int protection, int flags, int fd)
{
    long at = RAW(SYS_mmap, NULL, size, protection, MAP_PRIVATE | flags, fd, 0);
    return at < 0 && at > -4096 ? NULL : (void *)at;
}

static struct room spare; /* for whoever comes first; a child may find it taken for ever */
static int is_spare_taken;

static struct room *enter(void)
{
    if (!__atomic_exchange_n(&is_spare_taken, 1, __ATOMIC_ACQUIRE))
        return &spare;
    return raw_map(sizeof(struct room), PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
}

static void leave(struct room *room)
{
    if (room == &spare)
        __atomic_store_n(&is_spare_taken, 0, __ATOMIC_RELEASE);
    else
        RAW(SYS_munmap, room, sizeof *room);
}

static void raw_close(int fd)
{
    if (fd >= 0)
        RAW(SYS_close, fd);
}

static int raw_link_text(const char *path, char *text, size_t size)
{
    long length = RAW(SYS_readlinkat, AT_FDCWD, path, text, size - 1);
    text[length < 0 ? 0 : length] = 0;
    return (int)length;
}

static void begin(void)
{
    if (has_begun)
        return;
    const char *given = getenv("DMTCP_RUN_UNDO"), *staging = dmtcp_get_ckpt_dir ? dmtcp_get_ckpt_dir() : NULL;
    const char *end = staging ? strstr(staging, "/staging/") : NULL;
    if (end && end - staging < PATH_MAX - 8)
        snprintf(job, sizeof job, "%.*s", (int)(end - staging), staging);
    else if (given && strrchr(given, '/') && strlen(given) < PATH_MAX - 8)
        snprintf(job, sizeof job, "%.*s", (int)(strrchr(given, '/') - given), given);
    else if (dmtcp_get_ckpt_dir)
        return; /* DMTCP does not know it yet */
    if (job[0])
        snprintf(root, sizeof root, "%.*s/undo", (int)(sizeof root - 8), job);
    has_begun = 1;
}

/* --- no checkpoint between a note and what it is of, and no signal: its handler may open files, or never return -- */

enum { NOT_HELD = -1, BY_DMTCP = -2 };
#define MOST_TRIES 5000
#define MOST_GATES 256

struct held {
    int how, is_made, cancel;
    sigset_t mask;
};

static const struct held nothing = { .how = NOT_HELD }; /* the mask is not looked at */
static int gates[MOST_GATES]; /* descriptors of it, plus 1: a child may not keep its parent's */

static void hold_signals(struct held *held)
{
    sigset_t all;
    sigfillset(&all);
    for (int i = 0; i < 6; i++)
        sigdelset(&all, ((const int[]){ SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS })[i]);
    if (dmtcp_get_ckpt_signal)
        sigdelset(&all, dmtcp_get_ckpt_signal());
    RAW(SYS_rt_sigprocmask, SIG_BLOCK, &all, &held->mask, _NSIG / 8);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &held->cancel);
}

static void let_signals(const struct held *held)
{
    int now;
    pthread_setcancelstate(held->cancel, &now);
    RAW(SYS_rt_sigprocmask, SIG_SETMASK, &held->mask, NULL, _NSIG / 8);
}

static void remember_gate(int from, int to)
{
    for (int i = 0; i < MOST_GATES; i++) {
        int there = from;
        if (__atomic_compare_exchange_n(&gates[i], &there, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return;
    }
}

/* Who takes an image shuts the gate first, so that there comes a moment in which nobody is in it. */
static int enter_gate(void)
{
    static volatile int has_given_up; /* who shut it is there no more */
    char path[PATH_MAX + 8], shut[PATH_MAX + 8];
    struct timespec pause = { 0, 1000000 };
    struct stat found;
    snprintf(path, sizeof path, "%s/gate", root);
    snprintf(shut, sizeof shut, "%s/shut", root);
    int fd = raw_open(path, O_RDONLY, 0);
    if (fd < 0)
        return NOT_HELD;
    remember_gate(0, fd + 1);
    for (int times = 0; !has_given_up; times++) {
        if (raw_stat(AT_FDCWD, shut, 0, &found) && !RAW(SYS_flock, fd, LOCK_SH | LOCK_NB)) {
            if (raw_stat(AT_FDCWD, shut, 0, &found))
                break;
            RAW(SYS_flock, fd, LOCK_UN);
        }
        has_given_up = times > MOST_TRIES;
        RAW(SYS_nanosleep, &pause, NULL);
    }
    return fd;
}

static struct held hold(void)
{
    struct held held = nothing;
    begin();
    if (!root[0] || is_suspended)
        return held;
    hold_signals(&held);
    if (dmtcp_plugin_disable_ckpt && dmtcp_plugin_enable_ckpt) {
        dmtcp_plugin_disable_ckpt();
        held.how = BY_DMTCP;
    } else {
        held.how = enter_gate();
        if (held.how == NOT_HELD)
            let_signals(&held);
    }
    return held;
}

static void release(const struct held *held)
{
    if (held->how == NOT_HELD)
        return;
    if (held->how == BY_DMTCP) {
        dmtcp_plugin_enable_ckpt();
    } else {
        remember_gate(held->how + 1, 0);
        raw_close(held->how);
    }
    let_signals(held);
}

static void leave_gates(void)
{
    for (int i = 0; i < MOST_GATES; i++) {
        raw_close(gates[i] - 1);
        gates[i] = 0;
    }
}

__attribute__((constructor)) static void prepare(void)
{
    if (!dmtcp_plugin_disable_ckpt)
        pthread_atfork(NULL, NULL, leave_gates);
}

/* --- what was noted: a file by its inode, a name by that of its folder. No lock, as a handler, or a child of another
   thread, would wait for it for ever; what gets lost here is noted once more, which does no harm -------------------- */

static uint64_t mixed(uint64_t hash, const void *data, size_t size)
{
    for (const unsigned char *at = data; size--; at++)
        hash = (hash ^ *at) * 1099511628211u;
    return hash;
}

static uint64_t key_of(const struct stat *found, int what, const char *name)
{
    uint64_t values[3] = { found->st_dev, found->st_ino, (uint64_t)what };
    uint64_t hash = mixed(mixed(14695981039346656037u, values, sizeof values), name, strlen(name));
    return hash ? hash : 1;
}

static uint64_t in_part(uint64_t key, unsigned part)
{
    uint64_t hash = mixed(key, &part, sizeof part);
    return hash ? hash : 1;
}

static int is_noted(uint64_t key, unsigned part)
{
    uint64_t hash = in_part(key, part);
    for (unsigned at = hash % SLOTS, times = 0; times < SLOTS; at = (at + 1) % SLOTS, times++) {
        uint64_t there = __atomic_load_n(&noted[at], __ATOMIC_ACQUIRE);
        if (there == hash)
            return 1;
        if (!there)
            return 0;
    }
    return 0;
}

static void remember(uint64_t key, unsigned part)
{
    uint64_t hash = in_part(key, part);
    if (!key)
        return;
    if (__atomic_load_n(&count, __ATOMIC_RELAXED) >= MOST_SLOTS) {
        memset(noted, 0, sizeof noted);
        __atomic_store_n(&count, 0, __ATOMIC_RELAXED);
    }
    for (unsigned at = hash % SLOTS, times = 0; times < SLOTS; at = (at + 1) % SLOTS, times++) {
        uint64_t none = 0;
        if (__atomic_compare_exchange_n(&noted[at], &none, hash, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
            return;
        }
        if (none == hash)
            return;
    }
}

/* Take over what other processes have noted in this part: each line begins with its length and its keys. */
static void read_list(unsigned part)
{
    char path[PATH_MAX + PART + 8];
    snprintf(path, sizeof path, "%s/%06u/list", root, part);
    int fd = raw_open(path, O_RDONLY, 0);
    struct stat found;
    if (fd < 0)
        return;
    if (!raw_stat(fd, "", AT_EMPTY_PATH, &found) && found.st_size > 0) {
        size_t size = (size_t)(found.st_size < MOST_READ ? found.st_size : MOST_READ);
        char *text = raw_map(size, PROT_READ, 0, fd);
        for (char *at = text, *end = text + size; at && end - at > 48;) {
            char *last = memchr(at, 0, (size_t)(end - at));
            /* 5 digits, 16 and 16, with tabs between */
            if (last && last - at > 40 && at + 6 + strtoul(at, NULL, 16) == last) {
                remember(strtoul(at + 6, NULL, 16), part);
                remember(strtoul(at + 23, NULL, 16), part);
            }
            at = last ? last + 1 : NULL;
        }
        if (text)
            RAW(SYS_munmap, text, size);
    }
    raw_close(fd);
}

/* Return the number of the part that is written to now; 0 where there is none. */
static unsigned look_at_part(void)
{
    char path[PATH_MAX + 8], now[PART];
    unsigned part = part_now;
    begin();
    if (!root[0] || is_suspended)
        return 0;
    if (!part) {
        snprintf(path, sizeof path, "%s/now", root);
        if (raw_link_text(path, now, PART) <= 0)
            return 0;
        part = (unsigned)strtoul(now, NULL, 10);
        if (is_told)
            part_now = part;
    }
    if (part != __atomic_load_n(&whole_part, __ATOMIC_ACQUIRE)) {
        read_list(part);
        __atomic_store_n(&whole_part, part, __ATOMIC_RELEASE);
    }
    return part;
}

/* --- what is noted -------------------------------------------------------------------------------------------- */

/* PATH cannot be noted: its name goes where there is room for it already, or else what has that room goes. */
static void lose(unsigned part, const char *path)
{
    char lost[PATH_MAX + PART + 8];
    snprintf(lost, sizeof lost, "%s/%06u/lost", root, part);
    int fd = raw_open(lost, O_WRONLY, 0);
    size_t size = strnlen(path, PATH_MAX - 1);
    if (fd < 0 || RAW(SYS_pwrite64, fd, path, size, 0) != (long)size)
        RAW(SYS_unlinkat, AT_FDCWD, lost, 0);
    raw_close(fd);
}

/* Whether a file may become as large: where the program has set itself a limit, a signal would end it. */
static int is_allowed(off_t size)
{
    struct rlimit limit;
    return RAW(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit) || (rlim_t)size <= limit.rlim_cur;
}

/* Write one line: a NUL ends what could not be written whole before. */
static int append_line(unsigned part, struct room *room, char kind, const struct stat *found, uint64_t name,
                       uint64_t content, const char *kept, const char *path)
{
    char list[PATH_MAX + PART + 8], *line = room->line;
    struct stat is;
    int size = snprintf(line + 7, LINE - 7, "%016lx\t%016lx\t%c\t%ld\t%ld\t%o\t%lu\t%lu\t%s\t%s", (unsigned long)name,
                        (unsigned long)content, kind, (long)found->st_size,
                        found->st_mtim.tv_sec * 1000000000L + found->st_mtim.tv_nsec, (unsigned)found->st_mode,
                        (unsigned long)found->st_ino, (unsigned long)found->st_dev, kept, path);
    if (size <= 0 || size >= LINE - 8)
        return 0;
    char first[8];
    snprintf(first, sizeof first, "%05x\t", (unsigned)size);
    line[0] = 0;
    memcpy(line + 1, first, 6);
    snprintf(list, sizeof list, "%s/%06u/list", root, part);
    for (int times = 0; times < 3; times++) {
        int fd = raw_open(list, O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (fd < 0)
            return 0;
        /* a checkpoint may close what it did not see opened */
        int has_space = !raw_stat(fd, "", AT_EMPTY_PATH, &is) && is.st_size < MOST_LIST
                        && is_allowed(is.st_size + size + 8);
        long written = has_space ? RAW(SYS_write, fd, line, size + 8) : 0;
        raw_close(fd);
        if (written == size + 8)
            return 1;
        if (!has_space)
            return 0;
    }
    return 0;
}

static int has_room(const char *folder, off_t size)
{
    struct statfs found;
    return !RAW(SYS_statfs, folder, &found) && (off_t)found.f_bavail * (off_t)found.f_bsize > 2 * size + LEAST_FREE;
}

static int copy_content(int from, int to, off_t size)
{
    if (!RAW(SYS_ioctl, to, FICLONE, from))
        return 1;
    if (size > MOST_COPIED)
        return 0;
    char *block = raw_map(BLOCK, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
    if (!block)
        return 0;
    off_t done = 0;
    for (long got = 1; got > 0 && done < size;) {
        long put = 0;
        got = RAW(SYS_pread64, from, block, BLOCK, done);
        if (got > 0)
            put = RAW(SYS_pwrite64, to, block, got, done);
        if (got > 0 && put != got)
            break;
        done += got > 0 ? got : 0;
    }
    RAW(SYS_munmap, block, BLOCK);
    return done >= size;
}

/* Keep what is at PATH in the part, under a new name; "-" where that cannot be. */
static void keep(unsigned part, struct room *room, const char *path, const struct stat *found, int is_moved,
                 char name[64])
{
    static unsigned number;
    char target[PATH_MAX + PART + 72], *text = room->other;
    for (int times = 0; times < 1000; times++) {
        unsigned own = __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED);
        snprintf(name, 64, "%ld-%u", (long)RAW(SYS_getpid), own);
        snprintf(target, sizeof target, "%s/%06u/%s", root, part, name);
        struct stat there;
        if (raw_stat(AT_FDCWD, target, AT_SYMLINK_NOFOLLOW, &there))
            break;
    }
    if (S_ISLNK(found->st_mode)) {
        if (raw_link_text(path, text, PATH_MAX) > 0 && !RAW(SYS_symlinkat, text, AT_FDCWD, target))
            return;
    } else if (is_moved && (found->st_size > MOST_COPIED || found->st_nlink > 1)
               && !RAW(SYS_linkat, AT_FDCWD, path, AT_FDCWD, target, 0)) {
        return;
    } else if (has_room(root, found->st_size) && is_allowed(found->st_size)) {
        int from = raw_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
        int to = from < 0 ? -1 : raw_open(target, O_RDWR | O_CREAT | O_EXCL, 0600);
        int is_whole = to >= 0 && copy_content(from, to, found->st_size);
        raw_close(to);
        raw_close(from);
        if (is_whole)
            return;
        if (to >= 0)
            RAW(SYS_unlinkat, AT_FDCWD, target, 0);
    }
    strcpy(name, "-");
}

static int is_ours(const char *path)
{
    static const char *const kernel[] = { "/dev/", "/proc/", "/sys/" }, own[] = "/dmtcp-run-";
    size_t length = strlen(job);
    for (int i = 0; i < 3; i++)
        if (!strncmp(path, kernel[i], strlen(kernel[i])))
            return 1;
    if (!strncmp(path, job, length) && path[length] == '/')
        return 1;
    for (const char *at = path; (at = strstr(at, own)); at++)
        if (strspn(at + sizeof own - 1, "0123456789abcdef") == 12 && at[sizeof own - 1 + 12] == '-')
            return 1;
    return 0;
}

/* Write where PATH, from DIR on, really is: its folder without links, and the last part of its name. Return 0, or minus
   errno; 1 where that part is none. */
static int real_name(int dir, const char *path, char *real)
{
    size_t length = strnlen(path, PATH_MAX);
    if (length == PATH_MAX)
        return -ENAMETOOLONG;
    while (length > 1 && path[length - 1] == '/')
        length--;
    size_t base = length;
    while (base > 0 && path[base - 1] != '/')
        base--;
    const char *last = path + base;
    size_t rest = length - base;
    if (!rest || (rest == 1 && *last == '.') || (rest == 2 && last[0] == '.' && last[1] == '.'))
        return 1;
    char link[48];
    memcpy(real, path, base);
    strcpy(real + base, base ? "" : ".");
    int fd = (int)RAW(SYS_openat, dir, real, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int got = raw_link_text(link, real, PATH_MAX);
    raw_close(fd);
    if (got <= 0 || real[0] != '/' || (size_t)got + rest + 2 > PATH_MAX)
        return -ENAMETOOLONG;
    got -= got == 1;
    real[got] = '/';
    memcpy(real + got + 1, last, rest);
    real[got + 1 + (int)rest] = 0;
    return 0;
}

static uint64_t key_of_name(const char *real, char *folder)
{
    struct stat found;
    const char *last = strrchr(real, '/');
    memcpy(folder, real, (size_t)(last - real) + 1);
    folder[last - real + 1] = 0;
    return raw_stat(AT_FDCWD, folder, 0, &found) ? 0 : key_of(&found, NAMED, last + 1);
}

/* Where it has just been written to, its time may stay as it is when it is written to again. */
static void age(struct stat *found)
{
    struct timespec now;
    RAW(SYS_clock_gettime, CLOCK_REALTIME, &now);
    if (now.tv_sec - found->st_mtim.tv_sec < 2)
        found->st_mtim.tv_sec = found->st_mtim.tv_nsec = 0;
}

/* Write a line on the file whose real name is in ROOM, and remember its NAME and CONTENT by their keys. */
static void write_down(unsigned part, struct room *room, char kind, struct stat *found, uint64_t name, uint64_t content,
                       const char *kept)
{
    if (!strcmp(kept, "-") && kind == 'F')
        age(found);
    if (append_line(part, room, kind, found, name, content, kept, room->real)) {
        remember(name, part);
        remember(content, part);
    } else {
        lose(part, room->real);
    }
}

/* Note the file at PATH, FOUND there, whose content is about to be appended to or CHANGED. */
static void note_content(int dir, const char *path, int what, struct stat *found)
{
    unsigned part = look_at_part();
    uint64_t changed = key_of(found, CHANGED, ""), appended = key_of(found, APPENDED, "");
    if (!part || is_noted(changed, part) || (what == APPENDED && is_noted(appended, part)))
        return;
    struct room *room = enter();
    if (!room) {
        lose(part, path);
        return;
    }
    char *real = room->real, link[48], kept[64] = "-", kind = 'F';
    int fd = (int)RAW(SYS_openat, dir, path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        /* gone since, or there is no descriptor left for the program either */
        if (fd != -ENOENT)
            lose(part, path);
        goto done;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int length = raw_link_text(link, real, PATH_MAX);
    int is_there = !raw_stat(fd, "", AT_EMPTY_PATH, found);
    raw_close(fd);
    if (length <= 0 || length >= PATH_MAX - 1 || real[0] != '/') {
        lose(part, path);
        goto done;
    }
    if (!is_there || !S_ISREG(found->st_mode) || is_ours(real))
        goto done;
    if (what == APPENDED || found->st_size == 0)
        kind = 'A';
    else
        keep(part, room, real, found, 0, kept);
    int is_whole = found->st_size == 0 || what != APPENDED;
    uint64_t name = is_whole && found->st_nlink == 1 ? key_of_name(real, room->other) : 0;
    uint64_t content = is_whole ? changed : appended;
    write_down(part, room, kind, found, name, content, kept);
done:
    leave(room);
}

/* Note what bears the name PATH, which is about to bear something else, or nothing. HOW: whether it may be made. */
static void note_name(int dir, const char *path, int how)
{
    unsigned part = path && *path ? look_at_part() : 0;
    struct room *room = part ? enter() : NULL;
    if (!part || !room) {
        if (part)
            lose(part, path);
        return;
    }
    char *real = room->real, kept[64] = "-", kind = 'F';
    struct stat found;
    int is_gone, failed = real_name(dir, path, real);
    for (int hops = 0; !failed; hops++) {
        is_gone = raw_stat(AT_FDCWD, real, AT_SYMLINK_NOFOLLOW, &found);
        if (is_gone || how != THROUGH || !S_ISLNK(found.st_mode) || hops > 40)
            break;
        long length = raw_link_text(real, room->name, PATH_MAX);
        char *last = strrchr(real, '/');
        if (length <= 0)
            break;
        if (room->name[0] == '/') {
            strcpy(room->other, room->name);
        } else if (last - real + 1 + length < PATH_MAX) {
            memcpy(room->other, real, (size_t)(last - real) + 1);
            strcpy(room->other + (last - real) + 1, room->name);
        }
        failed = real_name(AT_FDCWD, room->other, real);
    }
    /* what is not there cannot be changed either */
    if (failed) {
        if (failed == -ENAMETOOLONG || failed == -EMFILE || failed == -ENFILE || failed == -ENOMEM)
            lose(part, path);
        goto done;
    }
    if (is_ours(real))
        goto done;
    uint64_t content = 0, name = key_of_name(real, room->other);
    if (is_noted(name, part))
        goto done;
    if (is_gone) {
        if (!how)
            goto done;
        memset(&found, 0, sizeof found);
        kind = 'C';
    } else if (how == ONLY || how == THROUGH) {
        goto done;
    } else if (S_ISDIR(found.st_mode)) {
        kind = 'D';
    } else if (S_ISFIFO(found.st_mode)) {
        kind = 'P';
    } else if (S_ISREG(found.st_mode) || S_ISLNK(found.st_mode)) {
        /* what is noted of a file with another name says nothing of that one */
        content = S_ISREG(found.st_mode) && found.st_nlink == 1 ? key_of(&found, CHANGED, "") : 0;
        if (S_ISREG(found.st_mode) && found.st_size == 0)
            kind = 'A';
        else
            keep(part, room, real, &found, 1, kept);
    } else {
        goto done;
    }
    write_down(part, room, kind, &found, name, content, kept);
done:
    leave(room);
}

/* Note what opening PATH will do to it; return what is held until it is open. */
static struct held note_open(int dir, const char *path, int flags)
{
    if (!path || flags & O_PATH || (flags & O_TMPFILE) == O_TMPFILE)
        return nothing;
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_TRUNC | O_CREAT)))
        return nothing;
    int is_made = (flags & O_CREAT) != 0, only_made = is_made && ((flags & O_EXCL) || (flags & (O_ACCMODE | O_TRUNC)) == 0);
    struct stat found;
    int failed = raw_stat(dir, path, 0, &found);
    /* to open a pipe can take any time */
    if (failed ? !is_made || failed != -ENOENT : only_made || !S_ISREG(found.st_mode))
        return nothing;
    struct held held = hold();
    held.is_made = failed != 0;
    if (failed)
        note_name(dir, path, flags & O_EXCL ? ONLY : THROUGH);
    else
        note_content(dir, path, flags & O_APPEND && !(flags & O_TRUNC) ? APPENDED : CHANGED, &found);
    return held;
}

/* What was made is no other's: it is removed, and its content is nobody's concern. */
static void release_open(const struct held *held, int fd)
{
    struct stat found;
    unsigned part = held->how != NOT_HELD && held->is_made && fd >= 0 ? look_at_part() : 0;
    if (part && !raw_stat(fd, "", AT_EMPTY_PATH, &found))
        remember(key_of(&found, CHANGED, ""), part);
    release(held);
}

static struct held note_mode(const char *path, const char *mode)
{
    int flags = strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
    flags |= *mode == 'w' ? O_CREAT | O_TRUNC : *mode == 'a' ? O_CREAT | O_APPEND : 0;
    return path ? note_open(AT_FDCWD, path, flags | (strchr(mode, 'x') ? O_EXCL : 0)) : nothing;
}

static void note_truncated(const char *path)
{
    struct stat found;
    if (path && !raw_stat(AT_FDCWD, path, 0, &found) && S_ISREG(found.st_mode))
        note_content(AT_FDCWD, path, CHANGED, &found);
}

/* A name leaves its place, or what bears it is replaced. A folder that is moved with all that is in it is only told. */
static void note_moved(int from, const char *old, int to, const char *new, unsigned flags)
{
    struct stat found, there;
    if (!old || !new || raw_stat(from, old, AT_SYMLINK_NOFOLLOW, &found))
        return;
    int is_there = !raw_stat(to, new, AT_SYMLINK_NOFOLLOW, &there);
    unsigned part = look_at_part();
    if (!part)
        return;
    if (flags & RENAME_EXCHANGE && (S_ISDIR(found.st_mode) || (is_there && S_ISDIR(there.st_mode)))) {
        lose(part, new);
        return;
    }
    if (!S_ISDIR(found.st_mode)) {
        note_name(from, old, 0);
        note_name(to, new, MAYBE);
        return;
    }
    note_name(to, new, MAYBE);
    struct room *room = enter();
    if (!room) {
        lose(part, new);
        return;
    }
    if (!real_name(from, old, room->name) && !is_ours(room->name) && !real_name(to, new, room->real)) {
        size_t length = strlen(room->name);
        found.st_size = (off_t)length;
        /* both names, the first as long as it says */
        char *both = room->name;
        if (length + strlen(room->real) + 2 <= sizeof room->name + sizeof room->real) {
            memmove(both + length + 1, room->real, strlen(room->real) + 1);
            both[length] = '\n';
        }
        if (!append_line(part, room, 'M', &found, 0, 0, "-", both))
            lose(part, new);
    }
    leave(room);
}

/* --- what programs call --------------------------------------------------------------------------------------- */

#define MODE_OF(flags, last)                                                  \
    mode_t mode = 0;                                                          \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {            \
        va_list rest;                                                         \
        va_start(rest, last);                                                 \
        mode = va_arg(rest, mode_t);                                          \
        va_end(rest);                                                         \
    }

#undef open
#undef open64
#undef openat
#undef openat64
#undef creat
#undef fopen
#undef freopen

/* DMTCP cannot make a file again that never had a name: who gets none makes one with a name, and unlinks it */
static int refuses(int flags)
{
    if (!dmtcp_dlsym || (flags & O_TMPFILE) != O_TMPFILE)
        return 0;
    errno = EOPNOTSUPP;
    return 1;
}

#define OPEN(name, parameters, next_call, dir)           \
    int name parameters                                 \
    {                                                   \
        FIND(name);                                     \
        MODE_OF(flags, flags)                           \
        if (refuses(flags))                             \
            return -1;                                  \
        struct held held = note_open(dir, path, flags); \
        int fd = next next_call;                        \
        release_open(&held, fd);                        \
        return fd;                                      \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)
OPEN(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)

/* the C library's own opens are not DMTCP's, and its file would be gone after a restart */
static FILE *temporary(FILE *(*next)(void))
{
    char name[] = P_tmpdir "/tmpfXXXXXX";
    if (!dmtcp_dlsym)
        return next();
    int (*make)(char *) = (int (*)(char *))below("mkstemp");
    int (*drop)(const char *) = (int (*)(const char *))below("unlink");
    int fd = make(name);
    if (fd < 0)
        return NULL;
    drop(name);
    FILE *file = fdopen(fd, "w+");
    if (!file)
        close(fd);
    return file;
}

FILE *tmpfile(void)
{
    FIND(tmpfile);
    return temporary(next);
}

#undef tmpfile64
FILE *tmpfile64(void)
{
    FIND(tmpfile64);
    return temporary(next);
}

/* what _FORTIFY_SOURCE makes of the four, where no file is made */
int __open_2(const char *path, int flags)
{
    return open(path, flags);
}

int __open64_2(const char *path, int flags)
{
    return open64(path, flags);
}

int __openat_2(int dir, const char *path, int flags)
{
    return openat(dir, path, flags);
}

int __openat64_2(int dir, const char *path, int flags)
{
    return openat64(dir, path, flags);
}

#define OPENS(type, name, parameters, arguments, noted, fd) \
    type name parameters;                                   \
    type name parameters                                    \
    {                                                       \
        FIND(name);                                         \
        struct held held = noted;                           \
        type result = next arguments;                       \
        release_open(&held, fd);                            \
        return result;                                      \
    }

#define WRAP(name, parameters, arguments, note_it)      \
    int name parameters;                                \
    int name parameters                                 \
    {                                                   \
        FIND(name);                                     \
        struct held held = hold();                      \
        note_it;                                        \
        int result = next arguments;                    \
        release(&held);                                 \
        return result;                                  \
    }

#define MADE (O_CREAT | O_TRUNC | O_WRONLY)
#define FD_OF(file) ((file) ? fileno(file) : -1)

OPENS(int, creat, (const char *path, mode_t mode), (path, mode), note_open(AT_FDCWD, path, MADE), result)
OPENS(int, creat64, (const char *path, mode_t mode), (path, mode), note_open(AT_FDCWD, path, MADE), result)
OPENS(FILE *, fopen, (const char *path, const char *mode), (path, mode), note_mode(path, mode), FD_OF(result))
OPENS(FILE *, fopen64, (const char *path, const char *mode), (path, mode), note_mode(path, mode), FD_OF(result))
OPENS(FILE *, freopen, (const char *path, const char *mode, FILE *file), (path, mode, file), note_mode(path, mode), FD_OF(result))
OPENS(FILE *, freopen64, (const char *path, const char *mode, FILE *file), (path, mode, file), note_mode(path, mode), FD_OF(result))
WRAP(truncate, (const char *path, off_t size), (path, size), note_truncated(path))
WRAP(truncate64, (const char *path, off64_t size), (path, size), note_truncated(path))
WRAP(rename, (const char *old, const char *new), (old, new), note_moved(AT_FDCWD, old, AT_FDCWD, new, 0))
WRAP(renameat, (int from, const char *old, int to, const char *new), (from, old, to, new), note_moved(from, old, to, new, 0))
WRAP(renameat2, (int from, const char *old, int to, const char *new, unsigned flags), (from, old, to, new, flags), note_moved(from, old, to, new, flags))
WRAP(link, (const char *old, const char *new), (old, new), note_name(AT_FDCWD, new, ONLY))
WRAP(linkat, (int from, const char *old, int to, const char *new, int flags), (from, old, to, new, flags), note_name(to, new, ONLY))
WRAP(symlink, (const char *text, const char *path), (text, path), note_name(AT_FDCWD, path, ONLY))
WRAP(symlinkat, (const char *text, int dir, const char *path), (text, dir, path), note_name(dir, path, ONLY))
WRAP(unlink, (const char *path), (path), note_name(AT_FDCWD, path, 0))
WRAP(unlinkat, (int dir, const char *path, int flags), (dir, path, flags), note_name(dir, path, 0))
WRAP(rmdir, (const char *path), (path), note_name(AT_FDCWD, path, 0))
WRAP(remove, (const char *path), (path), note_name(AT_FDCWD, path, 0))
WRAP(mkdir, (const char *path, mode_t mode), (path, mode), note_name(AT_FDCWD, path, ONLY))
WRAP(mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), note_name(dir, path, ONLY))
WRAP(mkfifo, (const char *path, mode_t mode), (path, mode), note_name(AT_FDCWD, path, ONLY))
WRAP(mkfifoat, (int dir, const char *path, mode_t mode), (dir, path, mode), note_name(dir, path, ONLY))
WRAP(mknod, (const char *path, mode_t mode, dev_t device), (path, mode, device), note_name(AT_FDCWD, path, ONLY))
WRAP(mknodat, (int dir, const char *path, mode_t mode, dev_t device), (dir, path, mode, device), note_name(dir, path, ONLY))

/* a socket gets a name, which another bind() would find taken */
int bind(int fd, const struct sockaddr *address, socklen_t size)
{
    FIND(bind);
    char path[sizeof(struct sockaddr_un) + 1] = "";
    size_t before = offsetof(struct sockaddr_un, sun_path);
    if (address && size > before && size <= sizeof(struct sockaddr_un) && address->sa_family == AF_UNIX)
        memcpy(path, (const char *)address + before, size - before);
    if (!path[0])
        return next(fd, address, size);
    struct held held = hold();
    note_name(AT_FDCWD, path, ONLY);
    int result = next(fd, address, size);
    release(&held);
    return result;
}

/* what the C library opens itself for a child that posix_spawn() will start */
int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *restrict actions, int fd, const char *restrict path,
                                     int flags, mode_t mode)
{
    FIND(posix_spawn_file_actions_addopen);
    struct held held = note_open(AT_FDCWD, path, flags);
    release(&held);
    return next(actions, fd, path, flags, mode);
}

/* an open file is cut: by the size alone that could not be undone, where it is open for append */
static void note_cut(int fd)
{
    struct stat found;
    char link[48];
    long flags = RAW(SYS_fcntl, fd, F_GETFL);
    if (flags < 0 || !(flags & O_APPEND))
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (!raw_stat(fd, "", AT_EMPTY_PATH, &found) && S_ISREG(found.st_mode) && found.st_nlink > 0)
        note_content(AT_FDCWD, link, CHANGED, &found);
}

WRAP(ftruncate, (int fd, off_t size), (fd, size), note_cut(fd))
WRAP(ftruncate64, (int fd, off64_t size), (fd, size), note_cut(fd))
WRAP(fallocate, (int fd, int mode, off_t from, off_t size), (fd, mode, from, size), if (mode) note_cut(fd))
WRAP(fallocate64, (int fd, int mode, off64_t from, off64_t size), (fd, mode, from, size), if (mode) note_cut(fd))

/* temporary files, whose names are known only afterwards */
static void note_made(const char *path)
{
    unsigned part = look_at_part();
    struct room *room = part ? enter() : NULL;
    struct stat none = { 0 };
    if (room && !real_name(AT_FDCWD, path, room->real) && !is_ours(room->real)) {
        uint64_t name = key_of_name(room->real, room->other);
        if (append_line(part, room, 'C', &none, name, 0, "-", room->real))
            remember(name, part);
        else
            lose(part, room->real);
    }
    if (room)
        leave(room);
}

#define MAKES(name, parameters, arguments)                \
    int name parameters;                                  \
    int name parameters                                   \
    {                                                     \
        FIND(name);                                       \
        struct held held = hold();                        \
        int fd = next arguments;                          \
        if (fd >= 0)                                      \
            note_made(template);                          \
        held.is_made = 1;                                 \
        release_open(&held, fd);                          \
        return fd;                                        \
    }

MAKES(mkstemp, (char *template), (template))
MAKES(mkstemp64, (char *template), (template))
MAKES(mkostemp, (char *template, int flags), (template, flags))
MAKES(mkostemp64, (char *template, int flags), (template, flags))
MAKES(mkstemps, (char *template, int size), (template, size))
MAKES(mkstemps64, (char *template, int size), (template, size))
MAKES(mkostemps, (char *template, int size, int flags), (template, size, flags))
MAKES(mkostemps64, (char *template, int size, int flags), (template, size, flags))

char *mkdtemp(char *template)
{
    FIND(mkdtemp);
    struct held held = hold();
    char *made = next(template);
    if (made)
        note_made(made);
    release(&held);
    return made;
}

/* --- DMTCP's events; the numbers are those of 3.2, 4.2 and 5.0 ------------------------------------------------ */

enum { BEFORE_IMAGES = 16, AFTER_IMAGES = 17, AFTER_RESTART = 18, THREAD_GOES_ON = 20 };
#define MOST_HELD_S 20

struct plugin {
    const char *api, *version, *name, *author, *email, *text;
    void (*hook)(int event, void *data);
};

void dmtcp_register_plugin(struct plugin);
void dmtcp_initialize_plugin(void);
static const char *api;

/* DMTCP's own plugins pass here on their way to DMTCP, and say which interface it has: it wants no other. */
void dmtcp_register_plugin(struct plugin one)
{
    FIND(dmtcp_register_plugin);
    api = one.api;
    if (next)
        next(one);
}

/* All processes are suspended now: whichever comes here first begins the part that was made ready. */
static void begin_part(void)
{
    char ready[PATH_MAX + 8], now[PATH_MAX + 8];
    begin();
    snprintf(ready, sizeof ready, "%s/next", root);
    snprintf(now, sizeof now, "%s/now", root);
    if (root[0])
        RAW(SYS_renameat2, AT_FDCWD, ready, AT_FDCWD, now, 0);
}

/* Let nothing run on while files are copied outside, unless nobody is there any more who does. */
static void wait_for_copies(void)
{
    char hold[PATH_MAX + 8];
    struct stat found;
    struct timespec pause = { 0, 1000000 }, since, at;
    snprintf(hold, sizeof hold, "%s/hold", root);
    RAW(SYS_clock_gettime, CLOCK_MONOTONIC, &since);
    do {
        RAW(SYS_clock_gettime, CLOCK_MONOTONIC, &at);
        if (!root[0] || raw_stat(AT_FDCWD, hold, 0, &found))
            return;
        RAW(SYS_nanosleep, &pause, NULL);
    } while (at.tv_sec - since.tv_sec < MOST_HELD_S);
}

/* Locks on files, which an image does not hold: read before it is taken, taken again before a thread goes on. */
#define MOST_LOCKS 64
#define MOST_LOCKED_FD 1024
#define LOCK_TRIES 3000

static struct file_lock {
    int fd, is_whole, is_shared;
    long start, end;
} locks[MOST_LOCKS];
static int lock_count;
static volatile int are_locks_due;

static void read_locks_of(int fd)
{
    char path[48], text[4096], kind[16], way[16], last[24];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = raw_open(path, O_RDONLY, 0);
    long size = info < 0 ? 0 : RAW(SYS_read, info, text, sizeof text - 1);
    raw_close(info);
    text[size > 0 ? size : 0] = 0;
    for (char *at = text; (at = strstr(at, "lock:\t")) && lock_count < MOST_LOCKS; at++) {
        struct file_lock *one = &locks[lock_count];
        if (sscanf(at, "lock:\t%*d: %15s %*s %15s %*d %*s %ld %23s", kind, way, &one->start, last) != 4)
            continue;
        one->fd = fd;
        one->is_whole = !strcmp(kind, "FLOCK");
        one->is_shared = !strcmp(way, "READ");
        one->end = strcmp(last, "EOF") ? atol(last) : -1;
        if (one->is_whole || !strcmp(kind, "POSIX"))
            lock_count++;
    }
}

static void read_locks(void)
{
    struct stat found;
    lock_count = 0;
    for (int fd = 0; fd < MOST_LOCKED_FD; fd++)
        if (!raw_stat(fd, "", AT_EMPTY_PATH, &found) && S_ISREG(found.st_mode))
            read_locks_of(fd);
}

/* Somebody may still hold one who is about to die; who holds it for long has it. */
static void take_locks(void)
{
    struct timespec pause = { 0, 1000000 };
    for (int i = 0; i < lock_count; i++) {
        struct file_lock *one = &locks[i];
        struct flock range = { 0 };
        range.l_type = one->is_shared ? F_RDLCK : F_WRLCK;
        range.l_whence = SEEK_SET;
        range.l_start = one->start;
        range.l_len = one->end < 0 ? 0 : one->end - one->start + 1;
        long failed = 1;
        for (int times = 0; failed && times < LOCK_TRIES; times++) {
            failed = one->is_whole ? RAW(SYS_flock, one->fd, (one->is_shared ? LOCK_SH : LOCK_EX) | LOCK_NB)
                                   : RAW(SYS_fcntl, one->fd, F_SETLK, &range);
            if (failed)
                RAW(SYS_nanosleep, &pause, NULL);
        }
    }
}

static void hook(int event, void *data)
{
    static int turn;
    struct held held;
    (void)data;
    if (event != THREAD_GOES_ON)
        part_now = 0;
    if (event == BEFORE_IMAGES) {
        is_suspended = 1;
        begin_part();
        read_locks();
    } else if (event == AFTER_IMAGES) {
        wait_for_copies();
        is_suspended = 0;
    } else if (event == AFTER_RESTART) {
        are_locks_due = 1;
        is_suspended = has_begun = turn = 0;
    } else if (event == THREAD_GOES_ON && are_locks_due) {
        hold_signals(&held);
        while (__atomic_exchange_n(&turn, 1, __ATOMIC_ACQUIRE))
            RAW(SYS_sched_yield);
        if (are_locks_due)
            take_locks();
        are_locks_due = 0;
        __atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
        let_signals(&held);
    }
}

void dmtcp_initialize_plugin(void)
{
    void (*next)(void) = (void (*)(void))below("dmtcp_initialize_plugin");
    if (next)
        next();
    struct plugin self = { api, "3", "files", "dmtcp-py", "-", "notes what is done to files", hook };
    /* the events of a later interface may have other numbers */
    is_told = api && (!strcmp(api, "3") || !strcmp(api, "4"));
    if (is_told)
        dmtcp_register_plugin(self);
}
