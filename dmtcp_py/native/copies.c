/* Copies of what the program is about to change, in the part of the journal; part of the plugin `files`. */

#define _GNU_SOURCE
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "files.h"
#include "journal.h"

#define MOST_COPIED (64L << 20)
#define LEAST_FREE (64L << 20)
#define BLOCK (1L << 18)
#define NAME_TRIES 1000

static int has_room(const char *folder, off_t size)
{
    struct statfs found;
    return !RAW(SYS_statfs, folder, &found) && (off_t)found.f_bavail * (off_t)found.f_bsize > 2 * size + LEAST_FREE;
}

/* Copy SIZE bytes; return whether all were copied. Without a copy-on-write file system large files are not. */
static int copy_content(int from, int to, off_t size)
{
    if (!RAW(SYS_ioctl, to, FICLONE, from))
        return 1;
    if (size > MOST_COPIED)
        return 0;
    char *block = raw_map(BLOCK, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
    if (!block)
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

/* Copy the content of PATH to the new file TARGET; return whether it is whole. */
static int copy_file(const char *path, const char *target, off_t size)
{
    int from = raw_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    int to = from < 0 ? -1 : raw_open(target, O_RDWR | O_CREAT | O_EXCL, 0600);
    int is_whole = to >= 0 && copy_content(from, to, size);
    raw_close(to);
    raw_close(from);
    if (to >= 0 && !is_whole)
        RAW(SYS_unlinkat, AT_FDCWD, target, 0);
    return is_whole;
}

/* Keep the file FOUND at `buffers->real` in PART and write the NAME of its copy; "-" if that is impossible. A file that
   IS_MOVED or removed, and is large or has more names, gets a second name instead. */
void keep_copy(unsigned part, struct buffers *buffers, const struct stat *found, int is_moved, char name[COPY_NAME])
{
    static unsigned number;
    const char *path = buffers->real;
    char target[PATH_MAX + PART + COPY_NAME + 8], *text = buffers->other;
    for (int times = 0; times < NAME_TRIES; times++) {
        unsigned own = __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED);
        snprintf(name, COPY_NAME, "%ld-%u", (long)RAW(SYS_getpid), own);
        snprintf(target, sizeof target, "%s/%06u/%s", journal_folder, part, name);
        struct stat there;
        if (raw_stat(AT_FDCWD, target, AT_SYMLINK_NOFOLLOW, &there))
            break;
    }
    if (S_ISLNK(found->st_mode)) {
        if (raw_link_text(path, text, PATH_MAX) > 0 && !RAW(SYS_symlinkat, text, AT_FDCWD, target))
            return;
    } else if (is_moved && (found->st_size > MOST_COPIED || found->st_nlink > 1)
               && !RAW(SYS_linkat, AT_FDCWD, path, AT_FDCWD, target, 0)) {
        return;
    } else if (has_room(journal_folder, found->st_size) && may_grow_to(found->st_size)) {
        if (copy_file(path, target, found->st_size))
            return;
    }
    strcpy(name, "-");
}
