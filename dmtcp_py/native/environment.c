/* Programs that execute another without the variables by which our libraries are loaded (`env -i`, clearenv()); loaded
   into programs under CRIU.

   What they execute would not be watched: its changes to files would not be undone after a crash. Here the variables
   are kept from the start, and are added for the length of the call to an environment that lacks them. Of LD_PRELOAD
   only our own libraries are added, before those that the program names. What is executed sees nothing of it: one more
   variable says what was added, and once all libraries are loaded, the environment is made again what was given.

   All functions may be called after a fork() in a program with threads, so they allocate by mmap(). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PRELOAD "LD_PRELOAD="
#define UNDO "DMTCP_RUN_UNDO="
#define MEMORY "DMTCP_RUN_SHM="
/* Followed by which of the variables were added, a digit, and by the whole entry of LD_PRELOAD that there was before. */
#define ADDED "DMTCP_RUN_ADDED="
enum { ADDED_PRELOAD = 1, ADDED_UNDO = 2 };

static bool is_ready;
static char preload[4 * PATH_MAX], undo[PATH_MAX + sizeof UNDO], memory[sizeof MEMORY + 8];

static int (*next_execve)(const char *, char *const[], char *const[]);
static int (*next_execvpe)(const char *, char *const[], char *const[]);
static int (*next_fexecve)(int, char *const[], char *const[]);
static int (*next_execveat)(int, const char *, char *const[], char *const[], int);
typedef int spawn_t(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[],
                    char *const[]);
static spawn_t *next_posix_spawn, *next_posix_spawnp;
static int (*next_system)(const char *);
static FILE *(*next_popen)(const char *, const char *);

/* Keep those entries of LD_PRELOAD that lie in FOLDER, which ends with a slash. */
static void keep_libraries(const char *folder, const char *list)
{
    size_t used = strlen(strcpy(preload, PRELOAD)), length = strlen(folder);
    for (; list && *list; list += strcspn(list, ": "), list += strspn(list, ": ")) {
        size_t size = strcspn(list, ": ");
        if (strncmp(list, folder, length) || used + size + 2 > sizeof preload)
            continue;
        if (used > strlen(PRELOAD))
            preload[used++] = ':';
        memcpy(preload + used, list, size);
        preload[used += size] = 0;
    }
}

__attribute__((constructor)) static void keep_variables(void)
{
    Dl_info own;
    static char folder[PATH_MAX];
    if (is_ready)
        return;
    next_execve = dlsym(RTLD_NEXT, "execve");
    next_execvpe = dlsym(RTLD_NEXT, "execvpe");
    next_fexecve = dlsym(RTLD_NEXT, "fexecve");
    next_execveat = dlsym(RTLD_NEXT, "execveat");
    next_posix_spawn = (spawn_t *)dlsym(RTLD_NEXT, "posix_spawn");
    next_posix_spawnp = (spawn_t *)dlsym(RTLD_NEXT, "posix_spawnp");
    next_system = dlsym(RTLD_NEXT, "system");
    next_popen = dlsym(RTLD_NEXT, "popen");
    if (dladdr((void *)keep_variables, &own) && strlen(own.dli_fname) < sizeof folder) {
        strcpy(folder, own.dli_fname);
        char *last = strrchr(folder, '/');
        if (last)
            last[1] = 0;
        keep_libraries(folder, getenv("LD_PRELOAD"));
    }
    if (getenv("DMTCP_RUN_UNDO"))
        snprintf(undo, sizeof undo, UNDO "%s", getenv("DMTCP_RUN_UNDO"));
    if (getenv("DMTCP_RUN_SHM"))
        snprintf(memory, sizeof memory, MEMORY "%s", getenv("DMTCP_RUN_SHM"));
    is_ready = true;
}

static char *const *find(char *const *environment, const char *name)
{
    for (; environment && *environment; environment++)
        if (!strncmp(*environment, name, strlen(name)))
            return environment;
    return NULL;
}

static void leave_out(char **entry)
{
    for (; entry && *entry; entry++)
        entry[0] = entry[1];
}

/* Make the environment again what it was given as. This library is the first in LD_PRELOAD, so that its constructor is
   the last: the others have seen their variables. */
__attribute__((constructor)) static void hide_what_was_added(void)
{
    keep_variables();
    char **added = (char **)find(environ, ADDED), **ours = (char **)find(environ, PRELOAD);
    if (!added)
        return;
    int which = added[0][strlen(ADDED)] - '0';
    char *before = *added + strlen(ADDED) + 1;
    if (which & ADDED_PRELOAD && ours && *before)
        *ours = before;
    else if (which & ADDED_PRELOAD)
        leave_out(ours);
    if (which & ADDED_UNDO) {
        leave_out((char **)find(environ, UNDO));
        leave_out((char **)find(environ, MEMORY));
    }
    leave_out((char **)find(environ, ADDED));
}

/* An environment with our variables: the one that was given, or a copy of SIZE bytes. */
struct completed {
    char **environment;
    size_t size;
};

static struct completed complete(char *const *given)
{
    keep_variables(); /* the constructor of a library may run before ours */
    struct completed same = {(char **)given, 0};
    char *const *theirs = find(given, PRELOAD);
    const char *ours = preload + strlen(PRELOAD);
    bool is_loaded = !*ours || (theirs && strstr(*theirs, ours)), is_watched = !*undo || find(given, UNDO);
    if (!*preload || (is_loaded && is_watched))
        return same;
    size_t count = 0, joined_size = theirs ? strlen(preload) + strlen(*theirs) + 2 : 0;
    size_t added_size = strlen(ADDED) + 1 + (theirs ? strlen(*theirs) : 0) + 1;
    while (given && given[count])
        count++;
    size_t entries = count + 5, size = entries * sizeof *given + joined_size + added_size;
    char **copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        return same;
    char *joined = (char *)(copy + entries), *added = joined + joined_size;
    for (size_t i = 0; i < count; i++)
        copy[i] = given[i];
    if (!is_loaded && theirs) {
        snprintf(joined, joined_size, "%s:%s", preload, *theirs + strlen(PRELOAD));
        copy[theirs - given] = joined;
    } else if (!is_loaded)
        copy[count++] = preload;
    if (!is_watched)
        copy[count++] = undo;
    if (!is_watched && *memory)
        copy[count++] = memory;
    int which = (is_loaded ? 0 : ADDED_PRELOAD) | (is_watched ? 0 : ADDED_UNDO);
    snprintf(added, added_size, ADDED "%d%s", which, theirs && !is_loaded ? *theirs : "");
    copy[count] = added;
    return (struct completed){copy, size};
}

static void discard(struct completed one)
{
    int saved = errno;
    if (one.size)
        munmap(one.environment, one.size);
    errno = saved;
}

/* Define RESULT NAME PARAMETERS as CALL with an environment `full` in place of GIVEN. */
#define COMPLETES(name, given, parameters, call)                                                                       \
    int name parameters                                                                                                \
    {                                                                                                                  \
        struct completed whole = complete(given);                                                                      \
        char *const *full = whole.environment;                                                                         \
        int result = call;                                                                                             \
        discard(whole);                                                                                                \
        return result;                                                                                                 \
    }

COMPLETES(execve, environment, (const char *path, char *const words[], char *const environment[]),
          next_execve(path, words, full))
COMPLETES(execvpe, environment, (const char *file, char *const words[], char *const environment[]),
          next_execvpe(file, words, full))
COMPLETES(fexecve, environment, (int fd, char *const words[], char *const environment[]),
          next_fexecve(fd, words, full))
COMPLETES(execveat, environment,
          (int folder, const char *path, char *const words[], char *const environment[], int flags),
          next_execveat(folder, path, words, full, flags))
COMPLETES(execv, environ, (const char *path, char *const words[]), next_execve(path, words, full))
COMPLETES(execvp, environ, (const char *file, char *const words[]), next_execvpe(file, words, full))
COMPLETES(posix_spawn, environment,
          (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
           char *const words[], char *const environment[]),
          next_posix_spawn(pid, path, actions, attributes, words, full))
COMPLETES(posix_spawnp, environment,
          (pid_t * pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
           char *const words[], char *const environment[]),
          next_posix_spawnp(pid, file, actions, attributes, words, full))

/* The words of a call with a list of them, in memory of SIZE bytes; and what follows the list. */
static char **listed(const char *first, va_list rest, size_t *size, char *const **environment)
{
    va_list again;
    size_t count = first ? 1 : 0;
    va_copy(again, rest);
    while (first && va_arg(again, char *))
        count++;
    va_end(again);
    *size = (count + 1) * sizeof(char *);
    char **words = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED)
        return NULL;
    words[0] = (char *)first;
    for (size_t i = 1; i <= count; i++)
        words[i] = va_arg(rest, char *);
    if (environment)
        *environment = va_arg(rest, char *const *);
    return words;
}

/* Define NAME, whose words are a list, as CALL with `words`. */
#define LISTED(name, has_environment, call)                                                                            \
    int name(const char *path, const char *first, ...)                                                                 \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        size_t size;                                                                                                   \
        char *const *environment = environ;                                                                            \
        va_start(rest, first);                                                                                         \
        char **words = listed(first, rest, &size, has_environment ? &environment : NULL);                              \
        va_end(rest);                                                                                                  \
        if (!words)                                                                                                    \
            return -1;                                                                                                 \
        int result = call;                                                                                             \
        discard((struct completed){words, size});                                                                      \
        return result;                                                                                                 \
    }

LISTED(execl, false, execve(path, words, environment))
LISTED(execle, true, execve(path, words, environment))
LISTED(execlp, false, execvpe(path, words, environment))

/* These two pass on the program's own environment. */
int system(const char *command)
{
    char **before = environ;
    struct completed whole = complete(before);
    if (!whole.size)
        return next_system(command);
    environ = whole.environment;
    int result = next_system(command);
    environ = before;
    discard(whole);
    return result;
}

FILE *popen(const char *command, const char *type)
{
    char **before = environ;
    struct completed whole = complete(before);
    if (!whole.size)
        return next_popen(command, type);
    environ = whole.environment;
    FILE *result = next_popen(command, type);
    environ = before;
    discard(whole);
    return result;
}
