/* The lists of processes and threads below /proc, with DMTCP's numbers instead of the kernel's, like what is in the files
   (process_texts.c); part of the plugin `forks`.

   DMTCP (3.2, 4.2, 5.0) knows the numbers of a process, its parent, its children and its threads, and translates a name
   below /proc for some functions; here for others of the same kind. */

#define _GNU_SOURCE
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "forks.h"
#include "raw.h"

#define PROC_MAGIC 0x9fa0
#define PROC "/proc/"
#define AT_A_TIME 16

static bool is_number(const char *name)
{
    const char *at = name;
    while (*at >= '0' && *at <= '9')
        at++;
    return at > name && !*at;
}

/* Whether FOLDER has the processes in it, or the threads of one. */
static bool lists_processes(DIR *folder)
{
    struct statfs found;
    char link[LINK_LENGTH], path[LINK_LENGTH];
    if (RAW(SYS_fstatfs, dirfd(folder), &found) || found.f_type != PROC_MAGIC)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd(folder));
    if (raw_link_text(link, path, sizeof path) <= 0)
        return false;
    size_t length = strlen(path);
    return !strcmp(path, "/proc") || (length > 5 && !strcmp(path + length - 5, "/task"));
}

/* Return ENTRY, or one like it that has the program's number. There is no room for a longer name in ENTRY. */
static struct dirent *with_number(DIR *folder, struct dirent *entry)
{
    static struct dirent several[AT_A_TIME];
    static unsigned turn;
    if (!entry || !is_number(entry->d_name) || !lists_processes(folder))
        return entry;
    int kernels = atoi(entry->d_name);
    hold_checkpoints();
    int number = programs_number(kernels);
    let_checkpoints();
    if (number == kernels)
        return entry;
    struct dirent *own = &several[__atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) % AT_A_TIME];
    *own = (struct dirent){ entry->d_ino, entry->d_off, sizeof *own, entry->d_type, "" };
    snprintf(own->d_name, sizeof own->d_name, "%d", number);
    return own;
}

struct dirent *readdir(DIR *folder)
{
    FIND_AFTER(readdir);
    return with_number(folder, next(folder));
}

struct dirent64 *readdir64(DIR *folder)
{
    FIND_AFTER(readdir64);
    return (struct dirent64 *)(void *)with_number(folder, (struct dirent *)(void *)next(folder));
}

/* Return PATH, or if it names a process by the program's number, the path written to ROOM with the kernel's. */
static const char *kernels_path(const char *path, char *room, size_t size)
{
    char *rest;
    if (!path || strncmp(path, PROC, strlen(PROC)) != 0 || path[strlen(PROC)] < '1' || path[strlen(PROC)] > '9')
        return path;
    long number = strtol(path + strlen(PROC), &rest, 10);
    if (*rest && *rest != '/')
        return path;
    return snprintf(room, size, PROC "%d%s", kernels_number((pid_t)number), rest) < (int)size ? room : path;
}

int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict found)
{
    FIND_AFTER(statx);
    char room[2 * LINK_LENGTH];
    return next(folder, kernels_path(path, room, sizeof room), flags, mask, found);
}

int fstatat(int folder, const char *restrict path, struct stat *restrict found, int flags)
{
    FIND_AFTER(fstatat);
    char room[2 * LINK_LENGTH];
    return next(folder, kernels_path(path, room, sizeof room), found, flags);
}

int fstatat64(int folder, const char *restrict path, struct stat64 *restrict found, int flags)
{
    FIND_AFTER(fstatat64);
    char room[2 * LINK_LENGTH];
    return next(folder, kernels_path(path, room, sizeof room), found, flags);
}

int faccessat(int folder, const char *path, int mode, int flags)
{
    FIND_AFTER(faccessat);
    char room[2 * LINK_LENGTH];
    return next(folder, kernels_path(path, room, sizeof room), mode, flags);
}

/* Put the program's numbers into what the links `self` and `thread-self` lead to: `pid`, or `pid/task/tid`. */
static ssize_t with_link_numbers(const char *path, char *text, size_t size, ssize_t length)
{
    char kernels[LINK_LENGTH], own[LINK_LENGTH];
    int process = 0, thread = 0;
    if (length <= 0 || length >= LINK_LENGTH || *text < '1' || *text > '9' || strncmp(path, PROC, strlen(PROC)) != 0)
        return length;
    memcpy(kernels, text, (size_t)length);
    kernels[length] = 0;
    if (sscanf(kernels, "%d/task/%d", &process, &thread) < 1)
        return length;
    hold_checkpoints();
    int full = snprintf(own, sizeof own, thread ? "%d/task/%d" : "%d", programs_number(process), programs_number(thread));
    let_checkpoints();
    length = (size_t)full < size ? full : (ssize_t)size;
    memcpy(text, own, (size_t)length);
    return length;
}

ssize_t readlinkat(int folder, const char *restrict path, char *restrict text, size_t size)
{
    FIND_AFTER(readlinkat);
    char room[2 * LINK_LENGTH];
    return with_link_numbers(path, text, size, next(folder, kernels_path(path, room, sizeof room), text, size));
}

ssize_t readlink(const char *restrict path, char *restrict text, size_t size)
{
    FIND_AFTER(readlink);
    return with_link_numbers(path, text, size, next(path, text, size));
}
