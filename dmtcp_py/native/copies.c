/* Copies of what the program is about to change, in the part of the journal; part of the plugin `files`. */

#define _GNU_SOURCE
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "files.h"
#include "journal.h"

#define LEAST_FREE (64L << 20)
#define BLOCK (1L << 18)
#define NAME_TRIES 1000

int has_room(const char *folder, off_t size)
{
    struct statfs found;
    return !RAW(SYS_statfs, folder, &found) && (off_t)found.f_bavail * (off_t)found.f_bsize > 2 * size + LEAST_FREE;
}

/* Copy SIZE bytes; return whether all were copied. Large files are only where the file system shares blocks. */
static int copy_content(int from, int to, off_t size)
{
    if (!RAW(SYS_ioctl, to, FICLONE, from))
        return 1;
    if (size > MOST_COPIED || !has_room(journal_folder, size))
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

/* Copy the content of PATH to the new file NAME in FOLDER; return whether it is whole. */
static int copy_file(const char *path, int folder, const char *name, off_t size)
{
    int from = raw_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    int to = from < 0 ? -1 : (int)RAW(SYS_openat, folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int is_whole = to >= 0 && copy_content(from, to, size);
    raw_close(to);
    raw_close(from);
    if (to >= 0 && !is_whole)
        RAW(SYS_unlinkat, folder, name, 0);
    return is_whole;
}

/* Write to NAME one that no copy in FOLDER has. */
static void choose_name(int folder, char name[COPY_NAME])
{
    static unsigned number;
    struct stat there;
    for (int times = 0; times < NAME_TRIES; times++) {
        struct text text = { name, name + COPY_NAME - 1 };
        add_signed(&text, RAW(SYS_getpid));
        add(&text, "-");
        add_number(&text, __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED), 10, 0);
        if (raw_stat(folder, name, AT_SYMLINK_NOFOLLOW, &there))
            return;
    }
}

/* Keep the file FOUND at `buffers->real` in PART, write the NAME of its copy, "-" for none, and return whether there is
   one. A file that IS_MOVED or removed, and is large or has more names, gets a second name instead. */
int keep_copy(unsigned part, struct buffers *buffers, const struct stat *found, int is_moved, char name[COPY_NAME])
{
    const char *path = buffers->real;
    char *text = buffers->other;
    int folder = is_in_memory(path) ? -1 : open_part(part), is_kept = 0;
    choose_name(folder, name);
    if (folder < 0) {
        /* kept with the generation */
    } else if (S_ISLNK(found->st_mode)) {
        is_kept = raw_link_text(path, text, PATH_MAX) > 0 && !RAW(SYS_symlinkat, text, folder, name);
    } else {
        is_kept = is_moved && (found->st_size > MOST_COPIED || found->st_nlink > 1)
                  && !RAW(SYS_linkat, AT_FDCWD, path, folder, name, 0);
        if (!is_kept && may_grow_to(found->st_size))
            is_kept = copy_file(path, folder, name, found->st_size);
    }
    raw_close(folder);
    if (!is_kept)
        strcpy(name, "-");
    return is_kept;
}
