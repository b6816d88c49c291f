/* What programs need from the C library under DMTCP (3.2, 4.2, 5.0) and do not get; loaded into them as a plugin.

   fork(), and all functions that fork: OpenBLAS ends and joins its threads in a handler that fork() calls before it
   forks. DMTCP's fork() calls that handler while it holds its wrapper lock, and each ending thread waits for that lock:
   the program hangs at its first fork, system() or subprocess. This plugin calls the same handler once more, before
   DMTCP acquires its lock; the second time the handler finds no thread to join. OpenBLAS starts new threads at its next
   call, as after every fork.

   fork() again: when a checkpoint begins, a process reports each child to its coordinator, with its own state as the
   child's. In the short time between the order and its suspension the coordinator treats that as a mistake and never
   answers: the child, the process and the checkpoint wait for ever. Here the process reports that it is running, which
   is true, and the coordinator sends the order to the child too.

   fork() once more: the coordinator refuses new processes from the moment when the last process is suspended until the
   last one runs again after the checkpoint or the restart. A process that forks then dies, and if it is the child of a
   shell's command substitution, nobody sees that: $( ) is empty. Here no process is started while the file HOLD exists:
   the supervisor makes it before it looks for a moment without forks, and before a restart, and removes it when the
   coordinator says that all run (engine/dmtcp/safe_moment.py).

   close_range(), by which Python's subprocess closes what its child must not have: DMTCP 3.2 does not know it, loses
   its own descriptors, and the child dies.

   shm_open(): a checkpoint closes descriptors that DMTCP did not see opened.

   sem_open(): the C library makes a semaphore under a temporary name before it has its own. DMTCP knows it by the
   temporary name in the process that made it, and by its own in others, as with Python's multiprocessing and spawn:
   after a restart they would be two semaphores.

   fcntl64() and other names for large files, which Python's os.dup() calls: DMTCP knows fcntl(), and closes after a
   restart what the other name returned.

   Descriptors that processes send each other are in sent.c, the numbers of processes in numbers.c. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "forks.h"

#define MOST 16
#define HOLD "hold-starts"
#define HOLD_LOOKS_NS 5000000
#define MOST_HOLD_LOOKS 24000 /* two minutes */
#define OWNERS (S_IRUSR | S_IWUSR)

/* Up to 4.2 dlsym(RTLD_NEXT) is DMTCP's own and skips the library right after this one: for example the fork() that
   starts a child's checkpoint thread. So functions are looked up in that library, when they are first called and not
   before: in a constructor, while DMTCP starts, its dlopen() leaves the loader locked for ever. */
void *below(const char *name)
{
    static void *dmtcp;
    Dl_info found;
    void *known_symbol = dlsym(RTLD_DEFAULT, "dmtcp_get_ckpt_signal");
    if (!dmtcp && known_symbol && dladdr(known_symbol, &found))
        dmtcp = dlopen(found.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    return dlsym(dmtcp ? dmtcp : RTLD_NEXT, name);
}

int dmtcp_plugin_disable_ckpt(void) __attribute__((weak));
void dmtcp_plugin_enable_ckpt(void) __attribute__((weak));

void hold_checkpoints(void)
{
    if (dmtcp_plugin_disable_ckpt && dmtcp_plugin_enable_ckpt)
        dmtcp_plugin_disable_ckpt();
}

void let_checkpoints(void)
{
    if (dmtcp_plugin_disable_ckpt && dmtcp_plugin_enable_ckpt)
        dmtcp_plugin_enable_ckpt();
}

static struct {
    unsigned long long loaded;
    int count;
    char paths[MOST][PATH_MAX];
} blas;

static int look(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    if (info->dlpi_adds == blas.loaded)
        return 1;
    if (strstr(info->dlpi_name, "blas") && blas.count < MOST && strlen(info->dlpi_name) < PATH_MAX)
        strcpy(blas.paths[blas.count++], info->dlpi_name);
    return 0;
}

static int read_loaded(struct dl_phdr_info *info, size_t size, void *loaded)
{
    (void)size;
    *(unsigned long long *)loaded = info->dlpi_adds;
    return 1;
}

const char *dmtcp_get_tmpdir(void) __attribute__((weak));

volatile int worker_state;

static bool exists_in_folder(const char *name)
{
    /* DMTCP makes its temporary folder in the one that we pass to it, another after each restart; the file is in ours */
    char path[NAME_MAX];
    snprintf(path, sizeof path, "../%s", name);
    hold_checkpoints(); /* DMTCP cannot keep a descriptor from O_PATH */
    int folder = (int)syscall(SYS_openat, AT_FDCWD, dmtcp_get_tmpdir(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool exists = folder >= 0 && !syscall(SYS_faccessat, folder, path, F_OK);
    syscall(SYS_close, folder);
    let_checkpoints();
    return exists;
}

/* A supervisor that has died does not remove the file, so the wait has an end. DMTCP itself does not wait. */
void await_removal(const char *name)
{
    const struct timespec some = {.tv_nsec = HOLD_LOOKS_NS};
    int saved = errno;
    for (int looks = 0; dmtcp_get_tmpdir && looks < MOST_HOLD_LOOKS; looks++) {
        if ((worker_state != RUNNING && worker_state != PRESUSPEND) || !exists_in_folder(name))
            break;
        syscall(SYS_nanosleep, &some, NULL);
    }
    errno = saved;
}

static void before_fork(void)
{
    unsigned long long loaded = 0;
    await_removal(HOLD);
    dl_iterate_phdr(read_loaded, &loaded);
    if (loaded != blas.loaded) {
        blas.count = 0;
        dl_iterate_phdr(look, NULL);
        blas.loaded = loaded;
    }
    for (int i = 0; i < blas.count; i++) {
        void *library = dlopen(blas.paths[i], RTLD_LAZY | RTLD_NOLOAD); /* NULL if it was closed */
        void (*shutdown)(void) = library ? (void (*)(void))dlsym(library, "blas_thread_shutdown_") : NULL;
        if (shutdown)
            shutdown();
        if (library)
            dlclose(library);
    }
}

void (*before_images)(void);

static __thread int forking;

void _ZN5dmtcp11WorkerState15setCurrentStateERKNS0_12eWorkerStateE(const int *state);

void _ZN5dmtcp11WorkerState15setCurrentStateERKNS0_12eWorkerStateE(const int *state)
{
    worker_state = *state;
    if (worker_state == CHECKPOINTING && before_images)
        before_images();
}

int _ZN5dmtcp11WorkerState12currentStateEv(void);

int _ZN5dmtcp11WorkerState12currentStateEv(void)
{
    return worker_state == PRESUSPEND && forking ? RUNNING : worker_state;
}

pid_t fork(void)
{
    FIND(fork);
    before_fork();
    forking++;
    pid_t child = next();
    forking--;
    return child;
}

pid_t vfork(void)
{
    /* as DMTCP's does: a wrapper cannot return twice from one call of vfork() */
    return fork();
}

int system(const char *command);

int system(const char *command)
{
    FIND(system);
    before_fork();
    forking++;
    int result = next(command);
    forking--;
    return result;
}

FILE *popen(const char *command, const char *mode)
{
    FIND(popen);
    before_fork();
    forking++;
    FILE *result = next(command, mode);
    forking--;
    return result;
}

int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *restrict actions,
                const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
    FIND(posix_spawn);
    before_fork();
    forking++;
    int result = next(pid, path, actions, attributes, argv, envp);
    forking--;
    return result;
}

int posix_spawnp(pid_t *restrict pid, const char *restrict file, const posix_spawn_file_actions_t *restrict actions,
                 const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
    FIND(posix_spawnp);
    before_fork();
    forking++;
    int result = next(pid, file, actions, attributes, argv, envp);
    forking--;
    return result;
}

/* Write the path of the object NAME in shared memory; the name of its file begins with PREFIX. */
static bool in_shared_memory(char *path, size_t size, const char *prefix, const char *name)
{
    while (*name == '/')
        name++;
    if (!*name || strchr(name, '/')) {
        errno = EINVAL;
        return false;
    }
    if (strlen(prefix) + strlen(name) > NAME_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    snprintf(path, size, SHARED_MEMORY "%s%s", prefix, name);
    return true;
}

int shm_open(const char *name, int flags, mode_t mode)
{
    char path[NAME_MAX + sizeof SHARED_MEMORY];
    if (!in_shared_memory(path, sizeof path, "", name))
        return -1;
    return open(path, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, mode); /* DMTCP's */
}

/* Make a semaphore that is complete from the moment it has its name, and open it by NEXT, the C library's sem_open().
   Its owner can open it whatever MODE says: the C library needs no second open, but here there is one, and one more at
   each restart, after which processes that cannot open it would each have a semaphore of their own. Sets IS_OTHERS if
   another process had made it before, or removed its name at once. */
static sem_t *make(const char *name, mode_t mode, unsigned value, __typeof__(sem_open) *next, bool *is_others)
{
    unsigned long long random;
    char path[NAME_MAX + sizeof SHARED_MEMORY], first[sizeof SHARED_MEMORY + LINK_LENGTH];
    sem_t semaphore = {{0}};
    if (!in_shared_memory(path, sizeof path, "sem.", name) || sem_init(&semaphore, 1, value) ||
        getrandom(&random, sizeof random, 0) != sizeof random)
        return SEM_FAILED;
    snprintf(first, sizeof first, SHARED_MEMORY "dmtcp-run-sem.%llx", random);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, first, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);
    if (fd < 0)
        return SEM_FAILED;
    struct stat found;
    sem_t *result = SEM_FAILED;
    if (!fstat(fd, &found) && !syscall(SYS_fchmod, fd, (found.st_mode & ALLPERMS) | OWNERS) &&
        syscall(SYS_write, fd, &semaphore, sizeof semaphore) == sizeof semaphore) {
        if (!syscall(SYS_linkat, AT_FDCWD, first, AT_FDCWD, path, 0))
            result = next(name, 0);
        *is_others = result == SEM_FAILED && (errno == EEXIST || errno == ENOENT);
    }
    int saved = errno;
    syscall(SYS_unlinkat, AT_FDCWD, first, 0);
    syscall(SYS_close, fd);
    errno = saved;
    return result;
}

/* Open the semaphore NAME or make it; try again while other processes make it and remove its name. */
static sem_t *open_or_make(const char *name, int flags, mode_t mode, unsigned value, __typeof__(sem_open) *next)
{
    for (;;) {
        if (!(flags & O_EXCL)) {
            sem_t *found = next(name, 0);
            if (found != SEM_FAILED || errno != ENOENT)
                return found;
        }
        bool is_others = false;
        sem_t *made = make(name, mode, value, next, &is_others);
        if (!is_others || (flags & O_EXCL && errno == EEXIST))
            return made;
    }
}

sem_t *sem_open(const char *name, int flags, ...)
{
    FIND(sem_open);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    unsigned value = flags & O_CREAT ? va_arg(rest, unsigned) : 0;
    va_end(rest);
    hold_checkpoints();
    sem_t *result = flags & O_CREAT ? open_or_make(name, flags, mode, value, next) : next(name, flags);
    let_checkpoints();
    return result;
}

int fcntl64(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return fcntl(fd, command, argument); /* DMTCP's, as below */
}

int mkstemp64(char *template)
{
    return mkstemp(template);
}

int mkostemp64(char *template, int flags)
{
    return mkostemp(template, flags);
}

int mkstemps64(char *template, int size)
{
    return mkstemps(template, size);
}

int mkostemps64(char *template, int size, int flags)
{
    return mkostemps(template, size, flags);
}

int close_range(unsigned first, unsigned last, int flags)
{
    FIND(close_range);
    Dl_info found;
    if (flags || (dladdr((void *)next, &found) && strstr(found.dli_fname, "libdmtcp")))
        return next(first, last, flags);
    unsigned most = (unsigned)sysconf(_SC_OPEN_MAX);
    for (unsigned fd = first; fd <= last && fd < most; fd++)
        close((int)fd); /* DMTCP's, which leaves its own descriptors open */
    return 0;
}
