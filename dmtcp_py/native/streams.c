/* Writes of the C library's streams, which call no function that a library could stand before; part of the plugin
   `files`.

   fwrite(), fprintf(), fflush(), exit() and the rest all write through a table of functions, one for each kind of
   stream. The C library checks that a stream's table is one of its own, so the table itself gets another function. */

#define _GNU_SOURCE
#include <sys/auxv.h>

#include "changes.h"
#include "files.h"

#define MOST_SLOTS 21

typedef ssize_t write_function(FILE *, const void *, ssize_t);

int are_streams_watched;
static write_function *next;

static ssize_t write_stream(FILE *file, const void *data, ssize_t size)
{
    struct held held;
    record_written(&held, fileno_unlocked(file), HERE, (size_t)size);
    ssize_t result = next(file, data, size);
    release(&held);
    return result;
}

/* Put our function into the place of the C library's in the table of this NAME; return whether it was there. */
static int replace_in(const char *name)
{
    void **table = dlsym(RTLD_DEFAULT, name);
    uintptr_t page = getauxval(AT_PAGESZ);
    for (int i = 0; table && i < MOST_SLOTS; i++) {
        uintptr_t start = (uintptr_t)&table[i] & ~(page - 1);
        if (table[i] != (void *)next)
            continue;
        if (RAW(SYS_mprotect, start, page, PROT_READ | PROT_WRITE))
            return 0;
        table[i] = (void *)write_stream;
        RAW(SYS_mprotect, start, page, PROT_READ);
        return 1;
    }
    return 0;
}

__attribute__((constructor)) static void watch_streams(void)
{
    next = (write_function *)dlsym(RTLD_DEFAULT, "_IO_file_write");
    are_streams_watched = next && replace_in("_IO_file_jumps") && replace_in("_IO_wfile_jumps");
}
