/* The other names that a file has; part of the plugin `files`. */

#define _GNU_SOURCE
#include <dirent.h>
#include <string.h>

#include "files.h"
#include "journal.h"

/* Write to `buffers->name` both `buffers->real` and NAME in the same folder, a newline between; return whether they
   fit. */
static int write_both(struct buffers *buffers, const char *name)
{
    struct text text = TEXT_IN(buffers->name);
    size_t folder = (size_t)(strrchr(buffers->real, '/') - buffers->real) + 1;
    add(&text, buffers->real);
    add(&text, "\n");
    char *other = text.at;
    add(&text, buffers->real);
    if (IS_FULL(text))
        return 0;
    text.at = other + folder;
    *text.at = 0;
    add(&text, name);
    return !IS_FULL(text);
}

/* Whether ENTRY of FOLDER is a name of the file FOUND, and another one than `buffers->real`. */
static int is_name_of(int folder, const struct dirent64 *entry, const struct stat *found, const struct buffers *buffers)
{
    struct stat there;
    return entry->d_ino == found->st_ino && strcmp(entry->d_name, strrchr(buffers->real, '/') + 1) != 0
           && !raw_stat(folder, entry->d_name, AT_SYMLINK_NOFOLLOW, &there) && there.st_dev == found->st_dev
           && there.st_ino == found->st_ino;
}

/* Write to `buffers->name` the name `buffers->real` of the file FOUND and another one that it has in the same folder,
   with a newline between; return 0 if there is none. */
int find_second_name(struct buffers *buffers, const struct stat *found)
{
    char *folder_path = buffers->other, *block = buffers->line;
    int is_found = 0;
    strcpy(folder_path, buffers->real);
    strrchr(folder_path, '/')[1] = 0;
    int folder = raw_open(folder_path, O_RDONLY | O_DIRECTORY, 0);
    for (long got; folder >= 0 && !is_found && (got = RAW(SYS_getdents64, folder, block, sizeof buffers->line)) > 0;)
        for (long at = 0; at < got && !is_found; at += ((struct dirent64 *)(void *)(block + at))->d_reclen) {
            const struct dirent64 *entry = (const void *)(block + at);
            is_found = is_name_of(folder, entry, found, buffers) && write_both(buffers, entry->d_name);
        }
    raw_close(folder);
    return is_found;
}
