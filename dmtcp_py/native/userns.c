/* Loaded into criu where it runs in a user namespace: makes up for what the kernel denies it there.

   /proc/PID/map_files can be opened only with CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE in the initial user namespace
   (proc_map_files_get_link: EPERM). criu then opens mapped files by path. It fails with those that have no path, and
   without a word it takes a mapped memfd for memory that has nothing to do with the memfd's descriptor. Where such an
   open fails with EPERM, the file is found in another way (userns_files.c).

   The other wrappers are for smaller denials; each acts only on the error that it stands for. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "userns.h"

#define LOOK_UP(name) \
    do { \
        if (!next) \
            next = dlsym(RTLD_NEXT, name); \
    } while (0)

int next_openat(int folder, const char *path, int flags, mode_t mode)
{
    static int (*next)(int, const char *, int, ...);

    LOOK_UP("openat64");
    return next(folder, path, flags, mode);
}

/* If PATH below FOLDER is an entry of a map_files, store its process in PID and return its range; otherwise NULL. */
static const char *map_files_range(int folder, const char *path, char pid[16])
{
    static const char map_files[] = "map_files/";
    char link[64], place[128];
    const char *range = path;
    ssize_t length;

    if (strncmp(path, map_files, sizeof(map_files) - 1) == 0)
        range += sizeof(map_files) - 1;
    if (!strchr(range, '-') || range[strspn(range, "0123456789abcdef-")])
        return NULL;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", folder);
    length = readlink(link, place, sizeof(place) - 1);
    place[length < 0 ? 0 : length] = 0;
    if (sscanf(place, "/proc/%15[0-9]", pid) != 1 || (range == path && !strstr(place, "/map_files")))
        return NULL;
    return range;
}

/* Open what is mapped; set errno as criu would see it with the privilege. */
static int open_range(const char *pid, const char *range, int flags)
{
    struct mapping mapping;
    int fd = -1, error = EPERM;

    if (find_mapping(pid, strtoul(range, NULL, 16), &mapping) == 0) {
        if (is_aio_ring(&mapping))
            error = ENXIO;
        else
            fd = open_mapped(pid, &mapping, flags);
    }
    errno = error;
    return fd;
}

/* Whether PATH is a limit of System V IPC or of message queues. Only uid 0 may write them, and it does not exist here:
   so the program cannot have changed them either, and a new namespace has them as the old one had. */
static int is_ipc_limit(const char *path)
{
    static const char *const limits[] = {"kernel/auto_msgmni", "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni",
                                         "kernel/sem", "kernel/shm", NULL};

    if (strstr(path, "next_id"))
        return 1; /* criu compares the ids that it gets; the frozen check refuses those that would differ */
    for (const char *const *limit = limits; *limit; limit++)
        if (strncmp(path, *limit, strlen(*limit)) == 0)
            return 1;
    return strncmp(path, "fs/mqueue/", 10) == 0;
}

int openat64(int folder, const char *path, int flags, ...)
{
    char pid[16];
    const char *range;
    va_list given;
    mode_t mode;
    int fd;

    va_start(given, flags);
    mode = va_arg(given, mode_t);
    va_end(given);
    fd = next_openat(folder, path, flags, mode);
    if (fd >= 0)
        return fd;
    if (errno == EACCES && (flags & O_ACCMODE) && is_ipc_limit(path))
        return next_openat(AT_FDCWD, "/dev/null", flags, mode);
    if (errno != EPERM)
        return -1;
    range = map_files_range(folder, path, pid);
    if (range)
        return open_range(pid, range, flags);
    errno = EPERM;
    return -1;
}

/* criu looks at a mapping of its own to learn the device of System V segments. */
int stat64(const char *path, struct stat64 *seen)
{
    static int (*next)(const char *, struct stat64 *);
    static const char own[] = "/proc/self/map_files/";
    struct mapping mapping;

    LOOK_UP("stat64");
    if (next(path, seen) == 0)
        return 0;
    if (errno != EPERM || strncmp(path, own, sizeof(own) - 1))
        return -1;
    if (find_mapping("self", strtoul(path + sizeof(own) - 1, NULL, 16), &mapping)) {
        errno = EPERM;
        return -1;
    }
    *seen = (struct stat64){.st_dev = mapping.device, .st_ino = mapping.inode, .st_mode = S_IFREG};
    return 0;
}

/* criu knows the ring of asynchronous I/O by a file that has no type. */
int fstatat64(int folder, const char *path, struct stat64 *seen, int flags)
{
    static int (*next)(int, const char *, struct stat64 *, int);
    char pid[16];
    const char *range;
    struct mapping mapping;
    int error;

    LOOK_UP("fstatat64");
    if (next(folder, path, seen, flags) == 0)
        return 0;
    error = errno;
    if (error == EPERM && (range = map_files_range(folder, path, pid)) &&
        find_mapping(pid, strtoul(range, NULL, 16), &mapping) == 0 && is_aio_ring(&mapping)) {
        *seen = (struct stat64){0};
        return 0;
    }
    errno = error;
    return -1;
}

/* Linking a descriptor itself requires CAP_DAC_READ_SEARCH (ENOENT); linking it by its name in /proc does not. */
int linkat(int from, const char *old, int to, const char *new, int flags)
{
    static int (*next)(int, const char *, int, const char *, int);
    char place[64];

    LOOK_UP("linkat");
    if (next(from, old, to, new, flags) == 0)
        return 0;
    if (errno != ENOENT || *old || !(flags & AT_EMPTY_PATH))
        return -1;
    snprintf(place, sizeof(place), "/proc/self/fd/%d", from);
    return next(AT_FDCWD, place, to, new, AT_SYMLINK_FOLLOW);
}

/* criu gives a file back to its owner. An owner without a number here (EINVAL) has it still, and criu goes on if it
   is told EPERM. */
static int as_criu_expects(int result)
{
    if (result && errno == EINVAL)
        errno = EPERM;
    return result;
}

int fchown(int fd, uid_t owner, gid_t group)
{
    static int (*next)(int, uid_t, gid_t);

    LOOK_UP("fchown");
    return as_criu_expects(next(fd, owner, group));
}

int fchownat(int folder, const char *path, uid_t owner, gid_t group, int flags)
{
    static int (*next)(int, const char *, uid_t, gid_t, int);

    LOOK_UP("fchownat");
    return as_criu_expects(next(folder, path, owner, group, flags));
}

/* criu has what stands for an ended child die of the same signal, not dumpable, so that there is no core dump. Of such a
   process newer kernels show nobody in this namespace the status, and the next dump would have 0. A limit of one byte
   prevents core dumps as well, those into a pipe too. */
int prctl(int option, ...)
{
    static int (*next)(int, ...);
    unsigned long words[4];
    va_list given;

    LOOK_UP("prctl");
    va_start(given, option);
    for (int number = 0; number < 4; number++)
        words[number] = va_arg(given, unsigned long);
    va_end(given);
    if (option == PR_SET_DUMPABLE && words[0] == 0)
        return setrlimit(RLIMIT_CORE, &(struct rlimit){1, 1});
    return next(option, words[0], words[1], words[2], words[3]);
}

/* The part of protobuf-c's ABI that is used here. */
struct field {
    const char *name;
    uint32_t id, label, type;
    unsigned int quantifier_offset, offset;
    const void *descriptor, *default_value;
    uint32_t flags;
    unsigned int reserved_flags;
    void *reserved2, *reserved3;
};

struct message {
    uint32_t magic;
    const char *name, *short_name, *c_name, *package_name;
    size_t size;
    unsigned int n_fields;
    const struct field *fields;
};

static const struct field *field_of(const struct message *message, const char *name)
{
    for (unsigned int number = 0; number < message->n_fields; number++)
        if (strcmp(message->fields[number].name, name) == 0)
            return message->fields + number;
    return NULL;
}

/* Whether this user namespace denies setgroups(2). */
static int keeps_groups(void)
{
    char text[5] = "";
    int fd = next_openat(AT_FDCWD, "/proc/self/setgroups", O_RDONLY | O_CLOEXEC, 0);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0)
        close(fd);
    return length > 0 && strcmp(text, "deny") == 0;
}

static void forget_groups(const struct message *message, char *content)
{
    static const char *const path[] = {"thread_core", "creds", NULL};
    const struct field *field;

    for (const char *const *name = path; *name; name++) {
        field = field_of(message, *name);
        if (!field)
            return;
        memcpy(&content, content + field->offset, sizeof(content));
        if (!content)
            return;
        message = field->descriptor;
    }
    field = field_of(message, "groups");
    if (field)
        memset(content + field->quantifier_offset, 0, sizeof(size_t));
}

/* What criu restores has the supplementary groups of its caller, as setgroups(2) is denied. criu calls it where the
   image has others, as when the user has been added to a group since; with none in the image it does not. */
void *protobuf_c_message_unpack(const struct message *message, void *allocator, size_t length, const uint8_t *data)
{
    static void *(*next)(const struct message *, void *, size_t, const uint8_t *);
    void *content;

    LOOK_UP("protobuf_c_message_unpack");
    content = next(message, allocator, length, data);
    if (content && strcmp(message->name, "core_entry") == 0 && keeps_groups())
        forget_groups(message, content);
    return content;
}
