/* Temporary files: some have no name, and the name of others is known only after the call; part of the plugin `files`.

   DMTCP cannot make a file again that never had a name. A program whose open() with O_TMPFILE fails makes one with a
   name and unlinks it, which DMTCP can. tmpfile() is made to do the same: the C library opens its file itself, unseen
   by DMTCP, and it would be gone after a restart. */

#define _GNU_SOURCE
#include <string.h>

#include "files.h"
#include "journal.h"

/* Whether open() with FLAGS has to fail, as on a file system without O_TMPFILE; sets errno. */
int refuses_unnamed(int flags)
{
    if (!dmtcp_dlsym || (flags & O_TMPFILE) != O_TMPFILE)
        return 0;
    errno = EOPNOTSUPP;
    return 1;
}

/* Do what FUNCTION does, tmpfile() or tmpfile64(). */
FILE *open_unnamed(const char *function)
{
    char name[] = P_tmpdir "/tmpfXXXXXX";
    if (!dmtcp_dlsym)
        return ((FILE * (*)(void)) below(function))();
    int (*make)(char *) = (int (*)(char *))below("mkstemp");
    int (*drop)(const char *) = (int (*)(const char *))below("unlink");
    int fd = make(name);
    if (fd < 0)
        return NULL;
    drop(name);
    FILE *file = fdopen(fd, "w+");
    if (!file)
        close(fd);
    return file;
}

/* Record that PATH did not exist before the call that has just made it. */
void record_made(const char *path)
{
    unsigned part = find_part();
    struct buffers *buffers = part ? borrow_buffers() : NULL;
    struct stat none = { 0 };
    if (buffers && !find_real_name(AT_FDCWD, path, buffers->real) && !is_not_the_programs(buffers->real)) {
        uint64_t name = key_of_name(buffers->real, buffers->other);
        struct entry entry = { .kind = 'C', .found = &none, .name = name, .copy = "-", .path = buffers->real };
        write_entry(part, buffers, &entry);
    }
    if (buffers)
        return_buffers(buffers);
}
