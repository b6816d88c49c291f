/* What a program does to files by their names, noted before it is done, so that it can be undone; loaded into it by
   DMTCP as a plugin (3.2, 4.2, 5.0), or by LD_PRELOAD.

   The folder with the notes has a link "now" to the part that began at the last checkpoint: a list, and copies. Before
   the first change of a file in a part its state is written down: that it was not there; its size, where it is only
   appended to; a copy, for anything else. dmtcp_py/engine/undo.py reads it and says what each line means. A line is
   written before what it tells of is done, and a name is noted once a part.

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
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 32768
#define MOST_NOTED 20000
#define MOST_COPIED (64L << 20)
#define LEAST_FREE (256L << 20)
#define LINE (2 * PATH_MAX + 256)
#define PART 32
#define BLOCK (1L << 18)

/* DMTCP's own, where it is there */
extern void *dmtcp_dlsym(void *handle, const char *symbol) __attribute__((weak));
extern void dmtcp_initialize(void) __attribute__((weak));
extern int dmtcp_plugin_disable_ckpt(void) __attribute__((weak));
extern void dmtcp_plugin_enable_ckpt(void) __attribute__((weak));
extern const char *dmtcp_get_ckpt_dir(void) __attribute__((weak));

static void *below(const char *name)
{
    if (!dmtcp_dlsym)
        return dlsym(RTLD_NEXT, name);
    if (dmtcp_initialize)
        dmtcp_initialize();
    return dmtcp_dlsym(RTLD_NEXT, name); /* looks from where it returns to: the layer below this one */
}

#define FIND(name)                                  \
    static __typeof__(name) *next;                  \
    if (!next)                                      \
        next = (__typeof__(name) *)below(#name)

static char job[PATH_MAX];  /* what is in here is not the program's */
static char root[PATH_MAX]; /* where the notes are; empty where there are none */
static char part[PART];
static uint64_t noted[SLOTS]; /* hashes of what was noted in this part */
static unsigned count;
static volatile int is_suspended;

enum { APPENDED = 1, CHANGED = 2 };
enum { ONLY = 2 }; /* is made, and fails where it is there */

/* names are long, and stacks of threads may be small: taken from the kernel while it is needed */
struct room {
    char name[PATH_MAX], real[PATH_MAX], line[LINE];
};

/* --- system calls alone; each returns -1 where it fails and leaves errno as it was ---------------------------- */

#define RAW(...)                                    \
    ({                                              \
        int kept_ = errno;                          \
        long result_ = syscall(__VA_ARGS__);        \
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

static struct room *enter(void)
{
    void *room = (void *)RAW(SYS_mmap, NULL, sizeof(struct room), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return room == MAP_FAILED ? NULL : room;
}

static void leave(struct room *room)
{
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
    static volatile int has_begun;
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

/* --- no checkpoint between a note and what it is of ----------------------------------------------------------- */

enum { NOT_HELD = -1, BY_DMTCP = -2 };
#define MOST_TRIES 5000

static int hold(void)
{
    char path[PATH_MAX + 8];
    struct timespec pause = { 0, 1000000 };
    begin();
    if (!root[0] || is_suspended)
        return NOT_HELD;
    if (dmtcp_plugin_disable_ckpt && dmtcp_plugin_enable_ckpt) {
        dmtcp_plugin_disable_ckpt();
        return BY_DMTCP;
    }
    snprintf(path, sizeof path, "%s/gate", root);
    int fd = raw_open(path, O_RDONLY, 0);
    for (int times = 0; fd >= 0 && times < MOST_TRIES && RAW(SYS_flock, fd, LOCK_SH | LOCK_NB); times++)
        RAW(SYS_nanosleep, &pause, NULL);
    return fd < 0 ? NOT_HELD : fd;
}

static void release(int held)
{
    if (held == BY_DMTCP)
        dmtcp_plugin_enable_ckpt();
    else
        raw_close(held);
}

/* --- which names were noted ----------------------------------------------------------------------------------- */

static uint64_t hash_of(const char *path, int what)
{
    uint64_t hash = 14695981039346656037u ^ (uint64_t)what;
    for (; *path; path++)
        hash = (hash ^ (unsigned char)*path) * 1099511628211u;
    return hash ? hash : 1;
}

static int is_noted(uint64_t hash)
{
    for (unsigned at = hash % SLOTS;; at = (at + 1) % SLOTS) {
        uint64_t there = __atomic_load_n(&noted[at], __ATOMIC_ACQUIRE);
        if (there == hash)
            return 1;
        if (!there)
            return 0;
    }
}

static void remember(uint64_t hash)
{
    if (__atomic_load_n(&count, __ATOMIC_RELAXED) >= MOST_NOTED + 1000)
        return;
    for (unsigned at = hash % SLOTS;; at = (at + 1) % SLOTS) {
        uint64_t none = 0;
        if (__atomic_compare_exchange_n(&noted[at], &none, hash, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
            return;
        }
        if (none == hash)
            return;
    }
}

/* Take over what other processes have noted in this part; each line begins with its hash. */
static void read_list(void)
{
    char path[PATH_MAX + PART + 8];
    snprintf(path, sizeof path, "%s/%s/list", root, part);
    int fd = raw_open(path, O_RDONLY, 0);
    struct stat found;
    if (fd < 0)
        return;
    if (!raw_stat(fd, "", AT_EMPTY_PATH, &found) && found.st_size > 0) {
        char *text = (char *)RAW(SYS_mmap, NULL, found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if ((long)text != -1) {
            for (char *at = text, *end = text + found.st_size; at && at + 16 < end;) {
                char digits[17] = { 0 };
                memcpy(digits, at, 16);
                remember(strtoull(digits, NULL, 16));
                at = memchr(at, 0, (size_t)(end - at));
                if (at)
                    at++;
            }
            RAW(SYS_munmap, text, found.st_size);
        }
    }
    raw_close(fd);
}

/* Look which part is written to now; return whether there is one. */
static int look_at_part(char now[PART])
{
    char path[PATH_MAX + 8];
    begin();
    if (!root[0] || is_suspended)
        return 0;
    snprintf(path, sizeof path, "%s/now", root);
    if (raw_link_text(path, now, PART) <= 0)
        return 0;
    if (strcmp(now, part)) {
        static int turn;
        while (__atomic_exchange_n(&turn, 1, __ATOMIC_ACQUIRE))
            RAW(SYS_sched_yield);
        if (strcmp(now, part)) {
            memset(noted, 0, sizeof noted);
            count = 0;
            memcpy(part, now, PART);
            read_list();
        }
        __atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
    }
    return 1;
}

/* --- what is noted -------------------------------------------------------------------------------------------- */

static int append_line(const char *in_part, const char *line, size_t size)
{
    char path[PATH_MAX + PART + 8];
    snprintf(path, sizeof path, "%s/%s/list", root, in_part);
    for (int times = 0; times < 3; times++) {
        int fd = raw_open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (fd < 0)
            return 0;
        /* a checkpoint may close what it did not see opened */
        long written = RAW(SYS_write, fd, line, size);
        raw_close(fd);
        if (written == (long)size)
            return 1;
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
    char *block = (char *)RAW(SYS_mmap, NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ((long)block == -1)
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
static void keep(const char *in_part, const char *path, const struct stat *found, int is_moved, char name[64])
{
    static unsigned number;
    char target[PATH_MAX + PART + 72], text[PATH_MAX];
    for (int times = 0; times < 1000; times++) {
        unsigned own = __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED);
        snprintf(name, 64, "%ld-%u", (long)RAW(SYS_getpid), own);
        snprintf(target, sizeof target, "%s/%s/%s", root, in_part, name);
        struct stat there;
        if (raw_stat(AT_FDCWD, target, AT_SYMLINK_NOFOLLOW, &there))
            break;
    }
    if (S_ISLNK(found->st_mode)) {
        if (raw_link_text(path, text, sizeof text) > 0 && !RAW(SYS_symlinkat, text, AT_FDCWD, target))
            return;
    } else if (found->st_size > MOST_COPIED && is_moved
               && !RAW(SYS_linkat, AT_FDCWD, path, AT_FDCWD, target, 0)) {
        return;
    } else {
        snprintf(text, sizeof text, "%.*s", (int)sizeof text - 1, root);
        if (has_room(text, found->st_size)) {
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
    }
    strcpy(name, "-");
}

/* Write PATH, from DIR on, as an absolute name; return whether that can be. */
static int absolute(int dir, const char *path, char *name)
{
    long length = 0;
    if (!path || !*path)
        return 0;
    if (*path != '/') {
        if (dir == AT_FDCWD) {
            length = RAW(SYS_getcwd, name, PATH_MAX) - 1;
        } else {
            char link[48];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            length = raw_link_text(link, name, PATH_MAX);
        }
        if (length <= 0 || name[0] != '/')
            return 0;
        name[length++] = '/';
    }
    size_t rest = strlen(path);
    if (length + (long)rest >= PATH_MAX)
        return 0;
    memcpy(name + length, path, rest + 1);
    return 1;
}

static int is_ours(const char *path)
{
    static const char *const kernel[] = { "/dev/", "/proc/", "/sys/" };
    size_t length = strlen(job);
    for (int i = 0; i < 3; i++)
        if (!strncmp(path, kernel[i], strlen(kernel[i])))
            return 1;
    return (!strncmp(path, job, length) && path[length] == '/') || strstr(path, "/dmtcp-run-") != NULL;
}

/* Note what is at PATH, which is about to be appended to or CHANGED: by its content, or, where IS_NAME, by what bears
   the name. IS_MADE: it is made if it is not there. */
static void note(int dir, const char *path, int what, int is_name, int is_made)
{
    char now[PART];
    struct room *room = look_at_part(now) ? enter() : NULL;
    if (!room)
        return;
    char *name = room->name, *real = room->real, *line = room->line;
    if (!absolute(dir, path, name) || is_ours(name))
        goto done;
    uint64_t changed = hash_of(name, CHANGED), appended = hash_of(name, APPENDED);
    if (is_noted(changed) || (what == APPENDED && is_noted(appended)))
        goto done;
    if (count >= MOST_NOTED) {
        if (count == MOST_NOTED) {
            remember(1);
            append_line(now, "0000000000000001\tX\t0\t0\t0\t0\t0\t-\t", 36);
        }
        goto done;
    }
    for (int times = 0; times < 5; times++) {
        struct stat found;
        char kind = 'F', kept[64] = "-";
        strcpy(real, name);
        if (raw_stat(AT_FDCWD, name, is_name ? AT_SYMLINK_NOFOLLOW : 0, &found)) {
            if (!is_made)
                goto done;
            memset(&found, 0, sizeof found);
            kind = 'C';
        } else if (S_ISDIR(found.st_mode)) {
            if (is_made == ONLY)
                goto done;
            kind = 'D';
        } else if (S_ISREG(found.st_mode) || S_ISLNK(found.st_mode)) {
            char link[48];
            int fd = raw_open(name, O_PATH | (is_name ? O_NOFOLLOW : 0), 0);
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            if (fd < 0 || raw_link_text(link, real, PATH_MAX) <= 0 || real[0] != '/')
                strcpy(real, name);
            raw_close(fd);
            if (is_ours(real))
                goto done;
            if (what == APPENDED || (S_ISREG(found.st_mode) && found.st_size == 0 && !is_name))
                kind = 'A';
            else
                keep(now, real, &found, is_name, kept);
        } else {
            goto done;
        }
        int size = snprintf(line, LINE, "%016lx\t%c\t%ld\t%ld\t%o\t%lu\t%lu\t%s\t%s",
                            (unsigned long)(kind == 'A' && what == APPENDED ? appended : changed), kind,
                            (long)found.st_size, found.st_mtim.tv_sec * 1000000000L + found.st_mtim.tv_nsec,
                            (unsigned)found.st_mode, (unsigned long)found.st_ino, (unsigned long)found.st_dev, kept,
                            real);
        if (size <= 0 || size >= LINE || !append_line(now, line, (size_t)size + 1))
            goto done;
        char then[PART];
        strcpy(then, now);
        /* a checkpoint may have come in between, and then it belongs to the next part */
        if (look_at_part(now) && !strcmp(then, now)) {
            remember(kind == 'A' && what == APPENDED ? appended : changed);
            break;
        }
    }
done:
    leave(room);
}

/* Note what opening PATH will do to it; return what is held until it is open. */
static int note_open(int dir, const char *path, int flags)
{
    if (!path || flags & O_PATH || (flags & O_TMPFILE) == O_TMPFILE)
        return NOT_HELD;
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_TRUNC | O_CREAT)))
        return NOT_HELD;
    int is_made = (flags & O_CREAT) != 0, only_made = is_made && ((flags & O_EXCL) || (flags & (O_ACCMODE | O_TRUNC)) == 0);
    struct stat found;
    int is_there = !raw_stat(dir, path, 0, &found);
    /* to open a pipe can take any time */
    if (is_there ? only_made || (!S_ISREG(found.st_mode) && !S_ISLNK(found.st_mode)) : !is_made)
        return NOT_HELD;
    int held = hold();
    note(dir, path, flags & O_APPEND && !(flags & O_TRUNC) ? APPENDED : CHANGED, 0, is_made);
    return held;
}

static int note_mode(const char *path, const char *mode)
{
    int flags = strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
    flags |= *mode == 'w' ? O_CREAT | O_TRUNC : *mode == 'a' ? O_CREAT | O_APPEND : 0;
    return path ? note_open(AT_FDCWD, path, flags | (strchr(mode, 'x') ? O_EXCL : 0)) : NOT_HELD;
}

/* A name leaves its place, or what bears it is replaced. A folder that is moved with all that is in it is only told. */
static void note_moved(int from, const char *old, int to, const char *new)
{
    char now[PART];
    struct stat found;
    if (!old || !new || raw_stat(from, old, AT_SYMLINK_NOFOLLOW, &found))
        return;
    if (!S_ISDIR(found.st_mode)) {
        note(from, old, CHANGED, 1, 0);
        note(to, new, CHANGED, 1, 1);
        return;
    }
    note(to, new, CHANGED, 1, 1);
    struct room *room = look_at_part(now) ? enter() : NULL;
    if (room && absolute(from, old, room->name) && absolute(to, new, room->real) && !is_ours(room->name)) {
        int size = snprintf(room->line, LINE, "%016lx\tM\t0\t0\t%o\t0\t0\t-\t%s\n%s", 2ul, (unsigned)found.st_mode,
                            room->name, room->real);
        if (size > 0 && size < LINE)
            append_line(now, room->line, (size_t)size + 1);
    }
    if (room)
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

int open(const char *path, int flags, ...)
{
    FIND(open);
    MODE_OF(flags, flags)
    int held = note_open(AT_FDCWD, path, flags);
    int fd = next(path, flags, mode);
    release(held);
    return fd;
}

int open64(const char *path, int flags, ...)
{
    FIND(open64);
    MODE_OF(flags, flags)
    int held = note_open(AT_FDCWD, path, flags);
    int fd = next(path, flags, mode);
    release(held);
    return fd;
}

int openat(int dir, const char *path, int flags, ...)
{
    FIND(openat);
    MODE_OF(flags, flags)
    int held = note_open(dir, path, flags);
    int fd = next(dir, path, flags, mode);
    release(held);
    return fd;
}

int openat64(int dir, const char *path, int flags, ...)
{
    FIND(openat64);
    MODE_OF(flags, flags)
    int held = note_open(dir, path, flags);
    int fd = next(dir, path, flags, mode);
    release(held);
    return fd;
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

#define OPENS(type, name, parameters, arguments, noted) \
    type name parameters;                               \
    type name parameters                                \
    {                                                   \
        FIND(name);                                     \
        int held = noted;                               \
        type result = next arguments;                   \
        release(held);                                  \
        return result;                                  \
    }

#define WRAP(name, parameters, arguments, note_it)      \
    int name parameters;                                \
    int name parameters                                 \
    {                                                   \
        FIND(name);                                     \
        int held = hold();                              \
        note_it;                                        \
        int result = next arguments;                    \
        release(held);                                  \
        return result;                                  \
    }

#define MADE (O_CREAT | O_TRUNC | O_WRONLY)

OPENS(int, creat, (const char *path, mode_t mode), (path, mode), note_open(AT_FDCWD, path, MADE))
OPENS(int, creat64, (const char *path, mode_t mode), (path, mode), note_open(AT_FDCWD, path, MADE))
OPENS(FILE *, fopen, (const char *path, const char *mode), (path, mode), note_mode(path, mode))
OPENS(FILE *, fopen64, (const char *path, const char *mode), (path, mode), note_mode(path, mode))
OPENS(FILE *, freopen, (const char *path, const char *mode, FILE *file), (path, mode, file), note_mode(path, mode))
OPENS(FILE *, freopen64, (const char *path, const char *mode, FILE *file), (path, mode, file), note_mode(path, mode))
WRAP(truncate, (const char *path, off_t size), (path, size), note(AT_FDCWD, path, CHANGED, 0, 0))
WRAP(truncate64, (const char *path, off64_t size), (path, size), note(AT_FDCWD, path, CHANGED, 0, 0))
WRAP(rename, (const char *old, const char *new), (old, new), note_moved(AT_FDCWD, old, AT_FDCWD, new))
WRAP(renameat, (int from, const char *old, int to, const char *new), (from, old, to, new), note_moved(from, old, to, new))
WRAP(renameat2, (int from, const char *old, int to, const char *new, unsigned flags), (from, old, to, new, flags), note_moved(from, old, to, new))
WRAP(link, (const char *old, const char *new), (old, new), note(AT_FDCWD, new, CHANGED, 1, 1))
WRAP(linkat, (int from, const char *old, int to, const char *new, int flags), (from, old, to, new, flags), note(to, new, CHANGED, 1, 1))
WRAP(symlink, (const char *text, const char *path), (text, path), note(AT_FDCWD, path, CHANGED, 1, 1))
WRAP(symlinkat, (const char *text, int dir, const char *path), (text, dir, path), note(dir, path, CHANGED, 1, 1))
WRAP(unlink, (const char *path), (path), note(AT_FDCWD, path, CHANGED, 1, 0))
WRAP(unlinkat, (int dir, const char *path, int flags), (dir, path, flags), note(dir, path, CHANGED, 1, 0))
WRAP(rmdir, (const char *path), (path), note(AT_FDCWD, path, CHANGED, 1, 0))
WRAP(remove, (const char *path), (path), note(AT_FDCWD, path, CHANGED, 1, 0))
WRAP(mkdir, (const char *path, mode_t mode), (path, mode), note(AT_FDCWD, path, CHANGED, 1, ONLY))
WRAP(mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), note(dir, path, CHANGED, 1, ONLY))
WRAP(mkfifo, (const char *path, mode_t mode), (path, mode), note(AT_FDCWD, path, CHANGED, 1, ONLY))
WRAP(mkfifoat, (int dir, const char *path, mode_t mode), (dir, path, mode), note(dir, path, CHANGED, 1, ONLY))

/* an open file is cut: by the size alone that could not be undone, where it is open for append */
static void note_cut(int fd)
{
    char link[48], path[PATH_MAX];
    long flags = RAW(SYS_fcntl, fd, F_GETFL);
    if (flags < 0 || !(flags & O_APPEND))
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (raw_link_text(link, path, sizeof path) > 0 && path[0] == '/')
        note(AT_FDCWD, path, CHANGED, 0, 0);
}

WRAP(ftruncate, (int fd, off_t size), (fd, size), note_cut(fd))
WRAP(ftruncate64, (int fd, off64_t size), (fd, size), note_cut(fd))

/* temporary files, whose names are known only afterwards */
static int made(int fd, const char *path)
{
    char now[PART];
    struct room *room = fd >= 0 && look_at_part(now) ? enter() : NULL;
    if (room && absolute(AT_FDCWD, path, room->name) && !is_ours(room->name)) {
        uint64_t hash = hash_of(room->name, CHANGED);
        int size = snprintf(room->line, LINE, "%016lx\tC\t0\t0\t0\t0\t0\t-\t%s", (unsigned long)hash, room->name);
        if (size > 0 && size < LINE && count < MOST_NOTED && append_line(now, room->line, (size_t)size + 1))
            remember(hash);
    }
    if (room)
        leave(room);
    return fd;
}

#define MAKES(name, parameters, arguments)                \
    int name parameters;                                  \
    int name parameters                                   \
    {                                                     \
        FIND(name);                                       \
        return made(next arguments, template);            \
    }

MAKES(mkstemp, (char *template), (template))
MAKES(mkstemp64, (char *template), (template))
MAKES(mkostemp, (char *template, int flags), (template, flags))
MAKES(mkostemp64, (char *template, int flags), (template, flags))
MAKES(mkstemps, (char *template, int size), (template, size))
MAKES(mkstemps64, (char *template, int size), (template, size))
MAKES(mkostemps, (char *template, int size, int flags), (template, size, flags))
MAKES(mkostemps64, (char *template, int size, int flags), (template, size, flags))

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

static struct held {
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
        struct held *one = &locks[lock_count];
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
        struct held *one = &locks[i];
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
    (void)data;
    if (event == BEFORE_IMAGES) {
        is_suspended = 1;
        begin_part();
        read_locks();
    } else if (event == AFTER_IMAGES) {
        wait_for_copies();
        is_suspended = 0;
    } else if (event == AFTER_RESTART) {
        are_locks_due = 1;
        is_suspended = 0;
    } else if (event == THREAD_GOES_ON && are_locks_due) {
        while (__atomic_exchange_n(&turn, 1, __ATOMIC_ACQUIRE))
            RAW(SYS_sched_yield);
        if (are_locks_due)
            take_locks();
        are_locks_due = 0;
        __atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
    }
}

void dmtcp_initialize_plugin(void)
{
    void (*next)(void) = (void (*)(void))below("dmtcp_initialize_plugin");
    if (next)
        next();
    struct plugin self = { api, "3", "files", "dmtcp-py", "-", "notes what is done to files", hook };
    /* the events of a later interface may have other numbers */
    if (api && (!strcmp(api, "3") || !strcmp(api, "4")))
        dmtcp_register_plugin(self);
}
