/* What calls of the program are about to do to files, and which entries of the journal that makes; part of the plugin
   `files`. */

#define _GNU_SOURCE
#include <linux/fs.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "changes.h"
#include "files.h"

#define MOST_LINKS 40 /* the kernel follows no more either */

/* Write to REAL where PATH leads to, and to FOUND what it is; return 0 if it is gone or has no place in the journal. */
int find_file(int dir, const char *path, char *real, struct stat *found)
{
    char link[FD_LINK];
    int fd = (int)RAW(SYS_openat, dir, path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        /* otherwise there is no descriptor left, and the program's call may still succeed */
        if (fd != -ENOENT)
            lose(path);
        return 0;
    }
    name_descriptor(link, fd);
    int length = raw_link_text(link, real, PATH_MAX);
    int exists = !raw_stat(fd, "", AT_EMPTY_PATH, found);
    raw_close(fd);
    if (length <= 0 || length >= PATH_MAX - 1 || real[0] != '/') {
        lose(path);
        return 0;
    }
    return exists && S_ISREG(found->st_mode) && !is_not_the_programs(real);
}

/* Record the file FOUND at PATH, whose content is about to be appended to or CHANGED, and of which the call leaves so
   many bytes. Of a large file that is not cut only the size is recorded here, and the rest when it is overwritten. */
static void record_content(int dir, const char *path, int what, off_t left, struct stat *found)
{
    unsigned part = find_part();
    uint64_t changed = key_of(found, CHANGED, ""), appended = key_of(found, APPENDED, "");
    int is_cut = what != APPENDED && left < found->st_size;
    int is_later = what == APPENDED || (found->st_size > MOST_COPIED && !is_cut && are_streams_watched);
    if (!part || is_recorded(changed, part) || (is_later && is_recorded(appended, part)))
        return;
    struct buffers *buffers = borrow_buffers();
    if (!buffers) {
        lose(path);
        return;
    }
    if (find_file(dir, path, buffers->real, found)) {
        char copy[COPY_NAME] = "-";
        struct entry entry = { .kind = 'A', .found = found, .content = appended, .copy = copy, .path = buffers->real };
        if (what != APPENDED && found->st_size != 0) {
            int is_kept = keep_copy(part, buffers, found, 0, copy);
            entry.kind = is_kept || is_in_memory(buffers->real) || !are_streams_watched ? 'F' : 'A';
        }
        /* the entry also says what had the name, unless the file has others */
        if (entry.kind == 'F' || found->st_size == 0) {
            entry.content = changed;
            entry.name = found->st_nlink == 1 ? key_of_name(buffers->real, buffers->other) : 0;
        }
        write_entry(part, buffers, &entry);
        if (entry.kind == 'A' && is_cut)
            keep_range(part, buffers, found, left, found->st_size);
    }
    return_buffers(buffers);
}

/* Write to `buffers->real` the name that PATH means to a call that does HOW, and what has it to FOUND, or that it
   IS_GONE. Returns as find_real_name() does. */
static int find_name(int dir, const char *path, int how, struct buffers *buffers, struct stat *found, int *is_gone)
{
    char *real = buffers->real, *link = buffers->name, *target = buffers->other;
    int failed = find_real_name(dir, path, real);
    for (int links = 0; !failed; links++) {
        *is_gone = raw_stat(AT_FDCWD, real, AT_SYMLINK_NOFOLLOW, found);
        if (*is_gone || how != MAKES_THROUGH_LINKS || !S_ISLNK(found->st_mode) || links > MOST_LINKS)
            break;
        long length = raw_link_text(real, link, PATH_MAX);
        size_t folder = (size_t)(strrchr(real, '/') - real) + 1;
        if (length <= 0)
            break;
        if (link[0] == '/') {
            strcpy(target, link);
        } else if (folder + (size_t)length < PATH_MAX) {
            memcpy(target, real, folder);
            strcpy(target + folder, link);
        }
        failed = find_real_name(AT_FDCWD, target, real);
    }
    return failed;
}

/* Return the kind of the entry for a name, by what has it and what the call does; 0 if nothing changes. */
static char kind_of_name(const struct stat *found, int is_gone, int how)
{
    if (is_gone)
        return how == REMOVES ? 0 : 'C';
    if (how == ONLY_MAKES || how == MAKES_THROUGH_LINKS)
        return 0;
    if (S_ISDIR(found->st_mode))
        return 'D';
    if (S_ISFIFO(found->st_mode))
        return 'P';
    if (S_ISLNK(found->st_mode))
        return 'F';
    if (S_ISREG(found->st_mode))
        return found->st_size == 0 && found->st_nlink == 1 ? 'A' : 'F';
    return 0;
}

/* Whether the file FOUND at `buffers->real` has another name beside, by which it is found again once it has lost this
   one: a name in the journal would be one more that the program sees it have. Both are in `buffers->name` then. */
static int has_other_name(struct buffers *buffers, const struct stat *found)
{
    return S_ISREG(found->st_mode) && found->st_nlink > 1 && !is_in_memory(buffers->real)
           && find_second_name(buffers, found);
}

/* Record what has the name `buffers->real`, FOUND there or IS_GONE, before a call that does HOW. */
static void record_real_name(unsigned part, struct buffers *buffers, struct stat *found, int is_gone, int how)
{
    char copy[COPY_NAME] = "-", kind;
    const char *path = buffers->real;
    uint64_t name = key_of_name(buffers->real, buffers->other);
    if (is_recorded(name, part) || !(kind = kind_of_name(found, is_gone, how)))
        return;
    if (is_gone)
        memset(found, 0, sizeof *found);
    else if (kind == 'F' && has_other_name(buffers, found))
        kind = 'L', path = buffers->name;
    else if (kind == 'F')
        keep_copy(part, buffers, found, 1, copy);
    if (kind == 'L')
        found->st_size = (off_t)strlen(buffers->real);
    struct entry entry = { .kind = kind, .found = found, .name = name, .copy = copy, .path = path };
    /* a file that has other names may still be changed by them: its content is not recorded yet */
    if (S_ISREG(found->st_mode) && found->st_nlink == 1)
        entry.content = key_of(found, CHANGED, "");
    write_entry(part, buffers, &entry);
}

/* Record what has the name PATH, before a call that does HOW. */
void record_name(int dir, const char *path, int how)
{
    unsigned part = path && *path ? find_part() : 0;
    struct buffers *buffers = part ? borrow_buffers() : NULL;
    if (!part || !buffers) {
        if (part)
            lose(path);
        return;
    }
    struct stat found;
    int is_gone = 0, failed = find_name(dir, path, how, buffers, &found, &is_gone);
    /* after any other error the program's call fails too */
    if (failed == -ENAMETOOLONG || failed == -EMFILE || failed == -ENFILE || failed == -ENOMEM)
        lose(path);
    if (!failed && !is_not_the_programs(buffers->real))
        record_real_name(part, buffers, &found, is_gone, how);
    return_buffers(buffers);
}

void hold_nothing(struct held *held)
{
    held->how = NOT_HELD;
    held->is_made = 0;
}

/* The same for a call that IS, or is no, POINT at which a thread may be cancelled. Of anything but regular files nothing
   is recorded; opening a pipe may also take any time. */
static void record_opening(struct held *held, int dir, const char *path, int flags, int is_point)
{
    hold_nothing(held);
    if (!path || flags & O_PATH || (flags & O_TMPFILE) == O_TMPFILE)
        return;
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_TRUNC | O_CREAT)))
        return;
    int may_make = (flags & O_CREAT) != 0;
    int only_makes = may_make && ((flags & O_EXCL) || (flags & (O_ACCMODE | O_TRUNC)) == 0);
    struct stat found;
    int failed = raw_stat(dir, path, 0, &found);
    if (failed ? !may_make || failed != -ENOENT : only_makes || !S_ISREG(found.st_mode))
        return;
    if (is_point)
        pthread_testcancel();
    hold(held);
    held->is_made = failed != 0;
    if (failed)
        record_name(dir, path, flags & O_EXCL ? ONLY_MAKES : MAKES_THROUGH_LINKS);
    else
        record_content(dir, path, flags & O_APPEND && !(flags & O_TRUNC) ? APPENDED : CHANGED,
                       flags & O_TRUNC ? 0 : found.st_size, &found);
}

/* Record what opening PATH will do to the file, and hold checkpoints back until release_open(). */
void record_open(struct held *held, int dir, const char *path, int flags)
{
    record_opening(held, dir, path, flags, 1);
}

/* Release what record_open() holds, once FD is open. A file that the call made is set aside by a rollback whatever is
   in it, so changes of its content need no entry. */
void release_open(const struct held *held, int fd)
{
    struct stat found;
    unsigned part = held->how != NOT_HELD && held->is_made && fd >= 0 ? find_part() : 0;
    if (part && !raw_stat(fd, "", AT_EMPTY_PATH, &found))
        remember(key_of(&found, CHANGED, ""), part);
    release(held);
}

void record_fopen(struct held *held, const char *path, const char *mode)
{
    int flags = strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
    flags |= *mode == 'w' ? O_CREAT | O_TRUNC : *mode == 'a' ? O_CREAT | O_APPEND : 0;
    record_open(held, AT_FDCWD, path, flags | (strchr(mode, 'x') ? O_EXCL : 0));
}

/* Record what opening the file of HANDLE will do to it; its name is known once it is open. */
void record_by_handle(struct held *held, int mount, struct file_handle *handle, int flags)
{
    char link[FD_LINK];
    hold_nothing(held);
    int fd = (int)RAW(SYS_open_by_handle_at, mount, handle, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return;
    name_descriptor(link, fd);
    record_open(held, AT_FDCWD, link, flags);
    raw_close(fd);
}

/* Record what the C library will open in a child that posix_spawn() starts: it does so by a call of its own. */
void record_spawned_open(struct held *held, const posix_spawn_file_actions_t *actions, const char *path, int flags)
{
    const char *folder = path && path[0] != '/' ? folder_of_actions(actions) : NULL;
    struct buffers *buffers = folder ? borrow_buffers() : NULL;
    if (buffers) {
        struct text text = TEXT_IN(buffers->name);
        add(&text, folder);
        add(&text, "/");
        add(&text, path);
        path = buffers->name;
    }
    record_opening(held, AT_FDCWD, path, flags, 0);
    release(held);
    hold_nothing(held);
    if (buffers)
        return_buffers(buffers);
}

/* Record the name that a Unix socket is about to get, which must be free again for the next bind(). */
void record_bound(struct held *held, const struct sockaddr *address, socklen_t size)
{
    char path[sizeof(struct sockaddr_un) + 1] = "";
    size_t before = offsetof(struct sockaddr_un, sun_path);
    hold_nothing(held);
    if (address && size > before && size <= sizeof(struct sockaddr_un) && address->sa_family == AF_UNIX)
        memcpy(path, (const char *)address + before, size - before);
    if (!path[0])
        return;
    hold(held);
    record_name(AT_FDCWD, path, ONLY_MAKES);
}

void record_truncated(const char *path, off_t size)
{
    struct stat found;
    if (path && size >= 0 && !raw_stat(AT_FDCWD, path, 0, &found) && S_ISREG(found.st_mode))
        record_content(AT_FDCWD, path, CHANGED, size, &found);
}

/* Record that the file OLD gets the name NEW too. Its size is recorded by the name that it has, so that a rollback finds
   it by that if it was changed by the other, which is gone by then. */
void record_linked(int from, const char *old, int to, const char *new, int flags)
{
    struct stat found;
    int follow = flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW;
    record_name(to, new, ONLY_MAKES);
    if (old && !raw_stat(from, old, follow, &found) && S_ISREG(found.st_mode) && found.st_nlink > 0)
        record_content(from, old, APPENDED, found.st_size, &found);
}

/* Record that a folder is moved with all that is in it: one entry with both names. */
static void record_moved_folder(unsigned part, int from, const char *old, int to, const char *new, struct stat *found)
{
    struct buffers *buffers = borrow_buffers();
    if (!buffers) {
        lose(new);
        return;
    }
    if (!find_real_name(from, old, buffers->name) && !is_not_the_programs(buffers->name)
        && !find_real_name(to, new, buffers->real)) {
        size_t length = strlen(buffers->name);
        char *both = buffers->name; /* reaches into `real`, which follows it */
        if (length + strlen(buffers->real) + 2 <= sizeof buffers->name + sizeof buffers->real) {
            memmove(both + length + 1, buffers->real, strlen(buffers->real) + 1);
            both[length] = '\n';
        }
        found->st_size = (off_t)length;
        struct entry entry = { .kind = 'M', .found = found, .copy = "-", .path = both };
        if (!append_entry(part, buffers, &entry))
            lose(new);
    }
    return_buffers(buffers);
}

/* Record that what has the name OLD gets the name NEW: both names change. Two folders that take each other's names
   cannot be recorded. */
void record_moved(int from, const char *old, int to, const char *new, unsigned flags)
{
    struct stat found, there;
    if (!old || !new || raw_stat(from, old, AT_SYMLINK_NOFOLLOW, &found))
        return;
    int exists = !raw_stat(to, new, AT_SYMLINK_NOFOLLOW, &there);
    unsigned part = find_part();
    if (!part)
        return;
    if (flags & RENAME_EXCHANGE && (S_ISDIR(found.st_mode) || (exists && S_ISDIR(there.st_mode)))) {
        lose(new);
        return;
    }
    if (!S_ISDIR(found.st_mode))
        record_name(from, old, REMOVES);
    record_name(to, new, MAY_MAKE);
    if (S_ISDIR(found.st_mode))
        record_moved_folder(part, from, old, to, new, &found);
}
