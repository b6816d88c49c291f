/* Files that are open and have lost their name; part of the plugin `state`.

   DMTCP (3.2, 4.2, 5.0) knows such a file by the name that it had. After a restart it makes a file of that name, and
   removes it: if another file has the name by then, as after rename(), it is that one which is overwritten, compared or
   removed. So before the images DMTCP is told of another name, which no file has; or of the one in the same folder that
   the file has besides, which link() gave it.

   It asks in three ways: fstat() whether there is a name, readlink() below /proc/self/fd what it is, and the kernel's
   list of mapped files. */

#define _GNU_SOURCE
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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

static int is_a_file(int fd, struct stat *found)
{
    return RAW(SYS_fstat, fd, found) == 0 && S_ISREG(found->st_mode) &&
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

/* Write to NAME a name that the file INODE of DEVICE has in the folder of PATH, which it has lost as a name; return
   whether there is one. */
static int find_in_folder(const char *path, dev_t device, ino_t inode)
{
    static char block[8192] __attribute__((aligned(8)));
    struct stat found;
    int is_found = 0, length = (int)(strrchr(path, '/') + 1 - path);
    static char folder_path[PATH_MAX];
    snprintf(folder_path, sizeof folder_path, "%.*s", length, path);
    int folder = raw_open(folder_path, O_RDONLY | O_DIRECTORY, 0);
    for (long got; folder >= 0 && !is_found && (got = RAW(SYS_getdents64, folder, block, sizeof block)) > 0;)
        for (long at = 0; at < got && !is_found;) {
            const struct dirent64 *one = (const void *)(block + at);
            at += one->d_reclen;
            if (one->d_ino != inode || raw_stat(folder, one->d_name, AT_SYMLINK_NOFOLLOW, &found))
                continue;
            is_found = found.st_dev == device && found.st_ino == inode &&
                       snprintf(name, sizeof name, "%s%s", folder_path, one->d_name) < (int)sizeof name;
        }
    raw_close(folder);
    return is_found;
}

static int is_deleted(const char *path)
{
    size_t length = strlen(path);
    return path[0] == '/' && length > strlen(DELETED) && !strcmp(path + length - strlen(DELETED), DELETED);
}

/* Write to NAME what DMTCP is told of the file with this PATH below /proc/self/fd; return 0 if that is what it is. */
static int find_other_name(const char *path)
{
    static char former[PATH_MAX];
    struct stat found;
    char *end;
    if (strncmp(path, FD_FOLDER, strlen(FD_FOLDER)) != 0)
        return 0;
    long fd = strtol(path + strlen(FD_FOLDER), &end, 10);
    if (*end || !is_a_file((int)fd, &found) || raw_link_text(path, former, sizeof former) <= 0 || !is_deleted(former))
        return 0;
    if (found.st_nlink)
        return find_in_folder(former, found.st_dev, found.st_ino);
    snprintf(name, sizeof name, "%s", former);
    return replace_name(name, sizeof name, found.st_ino, "");
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

ssize_t _ZN5jalib8readlinkEPKcPcm(const char *path, char *text, size_t size);

/* jalib::readlink(), by which alone DMTCP asks: the function of the C library it calls past all wrappers. */
ssize_t _ZN5jalib8readlinkEPKcPcm(const char *path, char *text, size_t size)
{
    static ssize_t (*next)(const char *, char *, size_t);
    if (is_saving && find_other_name(path)) {
        size_t length = strlen(name) < size ? strlen(name) : size;
        memcpy(text, name, length);
        return (ssize_t)length;
    }
    if (!next)
        next = (ssize_t(*)(const char *, char *, size_t))next_function("_ZN5jalib8readlinkEPKcPcm");
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
    if (!result || !is_saving || !(area->flags & MAP_SHARED) || !is_deleted(area->name) || is_without_folder(area->name))
        return result;
    if (find_in_folder(area->name, makedev((unsigned)area->major, (unsigned)area->minor), area->inode))
        snprintf(area->name, sizeof area->name, "%s", name);
    else
        replace_name(area->name, sizeof area->name, area->inode, DELETED);
    return result;
}
