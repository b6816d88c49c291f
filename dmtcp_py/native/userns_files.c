/* Finding the file behind a mapping without /proc/PID/map_files: by its path, by a descriptor that any process of this
   PID namespace has, by another name in its folder. A file that has none of these is copied into a memfd as far as
   processes see it, the same memfd for all of its mappings, so that criu sees one file. */

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "userns.h"

#define PAGE 4096UL
#define BLOCK (1UL << 20)
/* linux/Documentation/admin-guide/mm/pagemap.rst */
#define IS_FILE_PAGE (1ULL << 61)
#define IS_SWAPPED (1ULL << 62)
#define IS_PRESENT (1ULL << 63)

struct copy {
    struct copy *next;
    dev_t device;
    unsigned long inode;
    int fd;
};

struct lines {
    FILE *file;
    char *text;
    size_t room;
};

static const char deleted[] = " (deleted)";
static struct copy *copies;
static char block[BLOCK];

static int parse(const char *line, struct mapping *found)
{
    char permissions[5];
    unsigned int major, minor;
    int path_at = 0;
    size_t length;

    if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &found->start, &found->end, permissions, &found->offset, &major,
               &minor, &found->inode, &path_at) < 7 || !path_at)
        return -1;
    length = strcspn(line + path_at, "\n");
    if (length >= sizeof(found->path))
        return -1;
    memcpy(found->path, line + path_at, length);
    found->path[length] = 0;
    found->device = makedev(major, minor);
    found->is_shared = permissions[3] == 's';
    return 0;
}

static void open_maps(const char *pid, struct lines *lines)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%s/maps", pid);
    *lines = (struct lines){.file = fopen(path, "re")};
}

/* Read the next mapping that has a meaning here; return whether there was one. */
static int next_mapping(struct lines *lines, struct mapping *found)
{
    while (lines->file && getline(&lines->text, &lines->room, lines->file) > 0)
        if (parse(lines->text, found) == 0)
            return 1;
    return 0;
}

static void close_maps(struct lines *lines)
{
    free(lines->text);
    if (lines->file)
        fclose(lines->file);
}

int find_mapping(const char *pid, unsigned long start, struct mapping *found)
{
    struct lines lines;
    int result = -1;

    open_maps(pid, &lines);
    while (result && next_mapping(&lines, found))
        if (found->start == start)
            result = 0;
    close_maps(&lines);
    return result;
}

int is_aio_ring(const struct mapping *mapping)
{
    return strncmp(mapping->path, "/[aio]", 6) == 0;
}

static int is_same(const struct stat *seen, const struct mapping *wanted)
{
    return seen->st_ino == wanted->inode && seen->st_dev == wanted->device;
}

static int open_if_same(int folder, const char *path, int flags, const struct mapping *wanted)
{
    struct stat seen;
    int fd = next_openat(folder, path, flags | O_CLOEXEC, 0);

    if (fd >= 0 && fstat(fd, &seen) == 0 && is_same(&seen, wanted))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* By its path, which the kernel shows with a mark if the file has lost it. Maps show another device than stat() does
   where file systems have subvolumes; on an overlay (before Linux 6.8) they show the file below it. */
static int by_path(int flags, const struct mapping *wanted)
{
    struct stat seen;
    struct statfs system;
    int fd = next_openat(AT_FDCWD, wanted->path, flags | O_CLOEXEC, 0);

    if (fd >= 0 && fstat(fd, &seen) == 0 && S_ISREG(seen.st_mode) && fstatfs(fd, &system) == 0 &&
        (seen.st_ino == wanted->inode || system.f_type == OVERLAYFS_SUPER_MAGIC))
        return fd;
    if (fd >= 0)
        close(fd);
    return open_if_same(AT_FDCWD, wanted->path, flags, wanted);
}

static int is_number(const char *name)
{
    return *name && name[strspn(name, "0123456789")] == 0;
}

static int is_other_process(const struct dirent *entry)
{
    return is_number(entry->d_name) && atoi(entry->d_name) != getpid();
}

/* Whether descriptor NAME is the file: file systems with subvolumes show another device in maps than stat() does. */
static int is_descriptor_of(int folder, const char *name, const struct mapping *wanted)
{
    char target[PATH_MAX + 16];
    struct stat seen;
    ssize_t length;

    if (fstatat(folder, name, &seen, 0) || seen.st_ino != wanted->inode)
        return 0;
    if (seen.st_dev == wanted->device)
        return 1;
    length = readlinkat(folder, name, target, sizeof(target) - 1);
    target[length < 0 ? 0 : length] = 0;
    return strcmp(target, wanted->path) == 0;
}

static int by_descriptor_of(const char *pid, int flags, const struct mapping *wanted)
{
    char path[64];
    struct dirent *entry;
    DIR *folder;
    int fd = -1;

    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    folder = opendir(path);
    while (folder && fd < 0 && (entry = readdir(folder)))
        if (is_number(entry->d_name) && is_descriptor_of(dirfd(folder), entry->d_name, wanted))
            fd = next_openat(dirfd(folder), entry->d_name, flags | O_CLOEXEC, 0);
    if (folder)
        closedir(folder);
    return fd;
}

static int by_descriptor(int flags, const struct mapping *wanted)
{
    struct dirent *entry;
    DIR *processes = opendir("/proc");
    int fd = -1;

    while (processes && fd < 0 && (entry = readdir(processes)))
        if (is_other_process(entry))
            fd = by_descriptor_of(entry->d_name, flags, wanted);
    if (processes)
        closedir(processes);
    return fd;
}

/* By another name in the folder in which the file was made: POSIX semaphores are linked under theirs afterwards. */
static int by_name(int flags, const struct mapping *wanted)
{
    char path[PATH_MAX + 16];
    struct dirent *entry;
    char *slash;
    DIR *folder;
    int fd = -1;

    memcpy(path, wanted->path, sizeof(path));
    slash = strrchr(path, '/');
    if (!slash)
        return -1;
    slash[slash == path] = 0;
    folder = opendir(path);
    while (folder && fd < 0 && (entry = readdir(folder)))
        if (entry->d_ino == wanted->inode)
            fd = open_if_same(dirfd(folder), entry->d_name, flags | O_NOFOLLOW, wanted);
    if (folder)
        closedir(folder);
    return fd;
}

/* Whether what the process sees at ADDRESS is the file's and not its own copy of the page. */
static int is_files_page(int pagemap, unsigned long address)
{
    uint64_t entry;

    if (pread(pagemap, &entry, sizeof(entry), address / PAGE * sizeof(entry)) != sizeof(entry))
        return 0;
    return !(entry & (IS_PRESENT | IS_SWAPPED)) || (entry & IS_FILE_PAGE);
}

static int open_of(const char *pid, const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
    return next_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

/* Write the pages that are not empty, of the SIZE bytes in the block, to FD from OFFSET on. */
static int write_pages(int fd, unsigned long size, unsigned long offset)
{
    static const char empty[PAGE];

    for (unsigned long at = 0; at < size; at += PAGE)
        if (memcmp(block + at, empty, PAGE) && pwrite(fd, block + at, PAGE, offset + at) != PAGE)
            return -1;
    return 0;
}

static int copy_pages(int fd, int memory, int pagemap, const struct mapping *mapping)
{
    unsigned long step;

    for (unsigned long at = mapping->start; at < mapping->end; at += step) {
        ssize_t got;

        step = mapping->end - at < BLOCK ? mapping->end - at : BLOCK;
        if (pagemap >= 0) {
            step = PAGE;
            if (!is_files_page(pagemap, at))
                continue;
        }
        /* beyond the end of a file there is nothing to read */
        got = pread(memory, block, step, at);
        if (got > 0 && write_pages(fd, got, mapping->offset + (at - mapping->start)))
            return -1;
    }
    return 0;
}

static int copy_mapping(int fd, const char *pid, const struct mapping *mapping)
{
    int memory = open_of(pid, "mem");
    int pagemap = mapping->is_shared ? -1 : open_of(pid, "pagemap");
    int result = -1;

    if (memory >= 0 && (mapping->is_shared || pagemap >= 0))
        result = copy_pages(fd, memory, pagemap, mapping);
    if (memory >= 0)
        close(memory);
    if (pagemap >= 0)
        close(pagemap);
    return result;
}

/* Copy into FD what process PID sees of the WANTED file; SIZE is the size so far. */
static int copy_from(const char *pid, int fd, const struct mapping *wanted, unsigned long *size)
{
    struct mapping mapping;
    struct lines lines;
    int result = 0;

    open_maps(pid, &lines);
    while (!result && next_mapping(&lines, &mapping)) {
        unsigned long end = mapping.offset + (mapping.end - mapping.start);

        if (mapping.inode != wanted->inode || mapping.device != wanted->device)
            continue;
        if (end > *size) {
            *size = end;
            result = ftruncate(fd, end);
        }
        if (!result)
            result = copy_mapping(fd, pid, &mapping);
    }
    close_maps(&lines);
    return result;
}

static int copy_from_all(int fd, const struct mapping *wanted)
{
    struct dirent *entry;
    DIR *processes = opendir("/proc");
    unsigned long size = 0;
    int result = processes ? 0 : -1;

    while (processes && !result && (entry = readdir(processes)))
        if (is_other_process(entry))
            result = copy_from(entry->d_name, fd, wanted, &size);
    if (processes)
        closedir(processes);
    return result;
}

static int by_copy(const struct mapping *wanted)
{
    struct copy *copy;

    for (copy = copies; copy; copy = copy->next)
        if (copy->inode == wanted->inode && copy->device == wanted->device)
            return fcntl(copy->fd, F_DUPFD_CLOEXEC, 3);
    copy = malloc(sizeof(*copy));
    if (!copy)
        return -1;
    *copy = (struct copy){.next = copies, .device = wanted->device, .inode = wanted->inode};
    copy->fd = memfd_create("", MFD_CLOEXEC);
    if (copy->fd >= 0 && copy_from_all(copy->fd, wanted) == 0) {
        copies = copy;
        return fcntl(copy->fd, F_DUPFD_CLOEXEC, 3);
    }
    if (copy->fd >= 0)
        close(copy->fd);
    free(copy);
    return -1;
}

/* A segment of System V memory that criu has attached itself, to dump it with its namespace. */
static int by_own_memory(const struct mapping *wanted)
{
    const char *at = (const char *)wanted->start;
    size_t left = wanted->end - wanted->start;
    int fd = memfd_create("", MFD_CLOEXEC);

    while (fd >= 0 && left) {
        ssize_t done = write(fd, at, left);

        if (done <= 0) {
            close(fd);
            return -1;
        }
        at += done;
        left -= done;
    }
    return fd;
}

static int is_deleted(const char *path)
{
    size_t length = strlen(path), end = sizeof(deleted) - 1;

    return length > end && strcmp(path + length - end, deleted) == 0;
}

int open_mapped(const char *pid, const struct mapping *wanted, int flags)
{
    int fd;

    if (wanted->path[0] != '/')
        return -1;
    if (strncmp(wanted->path, "/SYSV", 5) == 0)
        return atoi(pid) == getpid() ? by_own_memory(wanted) : -1;
    if (!is_deleted(wanted->path))
        return by_path(flags, wanted);
    fd = by_descriptor(flags, wanted);
    if (fd < 0)
        fd = by_name(flags, wanted);
    return fd < 0 ? by_copy(wanted) : fd;
}
