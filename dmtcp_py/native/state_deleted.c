/* Files that are open and have no name any more; part of the plugin `state`.

   DMTCP (3.2, 4.2, 5.0) knows such a file by the name that it had. After a restart it makes a file of that name, and
   removes it: if another file has the name by then, as after rename(), it is that one which is overwritten, compared or
   removed. So before the images DMTCP is told of another name, which no file has.

   It asks in three ways: fstat() whether there is a name, readlink() below /proc/self/fd what it is, and the kernel's
   list of mapped files. */

#define _GNU_SOURCE
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "state.h"

#define OUR_PREFIX ".dmtcp-run-deleted-"
#define DELETED " (deleted)"
#define FD_FOLDER "/proc/self/fd/"

static volatile int is_saving; /* only DMTCP's own thread runs */
static char name[PATH_MAX];

void tell_other_names(int is_on)
{
    is_saving = is_on;
}

static int is_nameless(int fd, struct stat *found)
{
    return RAW(SYS_fstat, fd, found) == 0 && S_ISREG(found->st_mode) && !found->st_nlink &&
           !(dmtcp_is_protected_fd && dmtcp_is_protected_fd(fd));
}

/* Whether the file was never in a folder: memory that processes share, of four kinds. */
static int is_without_folder(const char *path)
{
    static const char *const beginnings[] = { "/memfd:", "/dev/zero (", "/SYSV", "/anon_hugepage (" };
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (!strncmp(path, beginnings[i], strlen(beginnings[i])))
            return 1;
    return 0;
}

/* Replace the last part of PATH, which ends with DELETED, by a name that only the file INODE has, of those that were in
   its folder. Overlays show one device to stat() and another in the list of mapped files. */
static int replace_name(char *path, size_t size, unsigned long inode, const char *ending)
{
    size_t length = strlen(path);
    char *last = strrchr(path, '/');
    if (path[0] != '/' || is_without_folder(path) || length < strlen(DELETED) ||
        strcmp(path + length - strlen(DELETED), DELETED) != 0)
        return 0;
    size_t room = size - (size_t)(last + 1 - path);
    return snprintf(last + 1, room, OUR_PREFIX "%lx%s", inode, ending) < (int)room;
}

static int find_other_name(const char *path)
{
    struct stat found;
    char *end;
    if (strncmp(path, FD_FOLDER, strlen(FD_FOLDER)) != 0)
        return 0;
    long fd = strtol(path + strlen(FD_FOLDER), &end, 10);
    return !*end && is_nameless((int)fd, &found) && raw_link_text(path, name, sizeof name) > 0 &&
           replace_name(name, sizeof name, found.st_ino, "");
}

static int status_of(int fd, struct stat *found)
{
    char path[48];
    long result = RAW(SYS_fstat, fd, found);
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    if (is_saving && S_ISREG(found->st_mode) && !found->st_nlink) {
        snprintf(path, sizeof path, FD_FOLDER "%d", fd);
        found->st_nlink = (unsigned)find_other_name(path);
    }
    return 0;
}

int fstat(int fd, struct stat *found)
{
    return status_of(fd, found);
}

int __fxstat(int version, int fd, struct stat *found);

/* as programs up to the C library 2.32 call it */
int __fxstat(int version, int fd, struct stat *found)
{
    (void)version;
    return status_of(fd, found);
}

ssize_t readlink(const char *restrict path, char *restrict text, size_t size)
{
    static ssize_t (*next)(const char *, char *, size_t);
    if (is_saving && find_other_name(path)) {
        size_t length = strlen(name) < size ? strlen(name) : size;
        memcpy(text, name, length);
        return (ssize_t)length;
    }
    if (!next)
        next = (ssize_t(*)(const char *, char *, size_t))next_function("readlink");
    return next(path, text, size);
}

/* DMTCP's ProcMapsArea (3.2, 4.2, 5.0) */
struct mapped {
    uint64_t from, to, size, offset, protection, flags, major, minor, inode, file_size, properties;
    char name[1024];
};

int _ZN5dmtcp12ProcSelfMaps11getNextAreaEP12ProcMapsArea(void *maps, struct mapped *area);

int _ZN5dmtcp12ProcSelfMaps11getNextAreaEP12ProcMapsArea(void *maps, struct mapped *area)
{
    static int (*next)(void *, struct mapped *);
    if (!next)
        next = (int (*)(void *, struct mapped *))next_function("_ZN5dmtcp12ProcSelfMaps11getNextAreaEP12ProcMapsArea");
    int result = next(maps, area);
    if (result && is_saving && area->flags & MAP_SHARED)
        replace_name(area->name, sizeof area->name, area->inode, DELETED);
    return result;
}
