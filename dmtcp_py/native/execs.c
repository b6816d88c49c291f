/* Programs that execute another without DMTCP's variables, or in a way that DMTCP does not know; part of the plugin
   `forks`.

   DMTCP (3.2, 4.2, 5.0) adds its variables to whatever environment a program passes on, and reads them from the
   program's own. `env -i`, clearenv() and programs that replace `environ` remove them there: DMTCP then throws an
   exception in the next exec, and a system() or posix_spawn() of the program fails without a reason. Here they are kept
   from the start, and are in both environments for the length of the call.

   fexecve() aborts up to 4.2 and fails in 5.0, and what execveat() executes leaves DMTCP: both become an execve() of the
   path that the kernel gives an open file.

   All functions may be called after a fork() in a program with threads, so they allocate by mmap(). */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "forks.h"

#define MOST_KEPT 64
#define PRELOAD "LD_PRELOAD="

/* DMTCP's variables as they were at the start, and how many. One more follows them, which is not for the program
   that is executed: in 3.2 DMTCP writes to it, after an exec that failed, what the program itself preloads. */
static char *kept[MOST_KEPT + 1];
static size_t kept_count;
static char preloaded[PATH_MAX] = PRELOAD;

static bool is_dmtcp_variable(const char *text)
{
    return !strncmp(text, "DMTCP_", strlen("DMTCP_")) || !strncmp(text, "JALIB_", strlen("JALIB_"));
}

__attribute__((constructor)) static void keep_variables(void)
{
    if (kept[kept_count])
        return;
    for (char **one = environ; one && *one && kept_count < MOST_KEPT; one++)
        if (is_dmtcp_variable(*one) && (kept[kept_count] = strdup(*one)))
            kept_count++;
    kept[kept_count] = preloaded;
}

static bool has(char *const *environment, const char *variable)
{
    size_t length = strcspn(variable, "=") + 1;
    for (; environment && *environment; environment++)
        if (!strncmp(*environment, variable, length))
            return true;
    return false;
}

static size_t count(char *const *environment)
{
    size_t found = 0;
    while (environment && environment[found])
        found++;
    return found;
}

/* An environment with DMTCP's variables: the one that was given, or a copy of SIZE bytes. */
struct completed {
    char **environment;
    size_t size;
};

/* Return GIVEN with the first MOST of the variables that were kept. */
static struct completed complete(char *const *given, size_t most)
{
    struct completed same = {(char **)given, 0};
    size_t used = count(given), missing = 0;
    for (size_t i = 0; i < most; i++)
        missing += !has(given, kept[i]);
    if (given && !missing)
        return same;
    size_t size = (used + missing + 1) * sizeof *given;
    char **copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        return same;
    if (used)
        memcpy(copy, given, used * sizeof *given);
    for (size_t i = 0; i < most; i++)
        if (!has(given, kept[i]))
            copy[used++] = kept[i];
    return (struct completed){copy, size};
}

static void discard(struct completed one)
{
    int saved = errno;
    if (one.size)
        munmap(one.environment, one.size);
    errno = saved;
}

int dmtcp_execvpe(const char *file, char *const arguments[], char *const environment[]);

/* By which DMTCP executes for all its wrappers, and for system(), popen() and posix_spawn(). */
int dmtcp_execvpe(const char *file, char *const arguments[], char *const environment[])
{
    FIND(dmtcp_execvpe);
    keep_variables(); /* the constructor of a library may run before ours */
    char **before = environ;
    preloaded[strlen(PRELOAD)] = 0;
    struct completed given = complete(environment, kept_count), own = complete(before, kept_count + 1);
    environ = own.environment;
    int result = next(file, arguments, given.environment);
    if (own.size)
        environ = before;
    discard(own);
    discard(given);
    return result;
}

#define FD_PATH "/proc/self/fd/%d"
#define FD_PATH_SIZE 32

int fexecve(int fd, char *const arguments[], char *const environment[])
{
    char path[FD_PATH_SIZE];
    snprintf(path, sizeof path, FD_PATH, fd);
    return execve(path, arguments, environment);
}

/* Return PATH in the open FOLDER as a path of its own, which is not on the stack because it may be long. */
static char *path_in(int folder, const char *path)
{
    size_t size = FD_PATH_SIZE + strlen(path) + 1;
    char *full = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (full == MAP_FAILED)
        return NULL;
    snprintf(full, size, FD_PATH "/%s", folder, path);
    return full;
}

static bool is_link(int folder, const char *path)
{
    char unused;
    return syscall(SYS_readlinkat, folder, path, &unused, sizeof unused) >= 0;
}

int execveat(int folder, const char *path, char *const arguments[], char *const environment[], int flags)
{
    if (!*path && flags & AT_EMPTY_PATH)
        return fexecve(folder, arguments, environment);
    if (flags & AT_SYMLINK_NOFOLLOW && is_link(folder, path)) {
        errno = ELOOP;
        return -1;
    }
    if (*path == '/' || folder == AT_FDCWD)
        return execve(path, arguments, environment);
    char *full = path_in(folder, path);
    if (!full)
        return -1;
    execve(full, arguments, environment);
    int saved = errno;
    munmap(full, strlen(full) + 1);
    errno = saved;
    return -1;
}
