/* What programs call instead of the C library, to have the journal (journal.h) record what they do to files.
   Loaded into them by DMTCP as a plugin (3.2, 4.2, 5.0), or by LD_PRELOAD.

   All these functions are made from the rows of wrappers.def. */

#define _GNU_SOURCE
#include <aio.h>
#include <mntent.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/uio.h>

#include "changes.h"
#include "files.h"

/* names that the headers may have defined as macros */
#undef open
#undef open64
#undef openat
#undef openat64
#undef creat
#undef fopen
#undef freopen
#undef tmpfile64

#define CREAT_FLAGS (O_CREAT | O_TRUNC | O_WRONLY)

/* --- the next function of each name --- */

#define DECLARE(type, name, parameters, arguments, recording) \
    type name parameters;                                     \
    static __typeof__(name) *next_##name;
#define CHANGES DECLARE
#define MAY_CHANGE DECLARE
#define MAY_CHANGE_WITH_MODE DECLARE
#define OPENS_STREAM DECLARE
#define MAKES_FILE DECLARE
#define MAKES_FOLDER DECLARE
#define WRITES DECLARE
#define MAPS DECLARE
#define FORWARDS(type, name, parameters, arguments, function) type name parameters;

#include "wrappers.def"

#undef CHANGES
#undef MAY_CHANGE
#undef MAY_CHANGE_WITH_MODE
#undef OPENS_STREAM
#undef MAKES_FILE
#undef MAKES_FOLDER
#undef WRITES
#undef MAPS
#undef FORWARDS

#define FIND_NEXT(name)                                       \
    if (!next_##name)                                         \
        next_##name = (__typeof__(name) *)below(#name)
#define FIND_EACH(type, name, parameters, arguments, recording) FIND_NEXT(name);
#define CHANGES FIND_EACH
#define MAY_CHANGE FIND_EACH
#define MAY_CHANGE_WITH_MODE FIND_EACH
#define OPENS_STREAM FIND_EACH
#define MAKES_FILE FIND_EACH
#define MAKES_FOLDER FIND_EACH
#define WRITES FIND_EACH
#define MAPS FIND_EACH
#define FORWARDS(type, name, parameters, arguments, function)

static volatile int is_looking;

/* Find them before the program runs: it may call from a signal handler, where nothing may be looked up. */
__attribute__((constructor)) static void find_next_functions(void)
{
    is_looking = 1;
#include "wrappers.def"
    is_looking = 0;
}

#undef CHANGES
#undef MAY_CHANGE
#undef MAY_CHANGE_WITH_MODE
#undef OPENS_STREAM
#undef MAKES_FILE
#undef MAKES_FOLDER
#undef WRITES
#undef MAPS
#undef FORWARDS

#define NAME_EACH(type, name, parameters, arguments, recording) { #name, (void *)name },
#define CHANGES NAME_EACH
#define MAY_CHANGE NAME_EACH
#define MAY_CHANGE_WITH_MODE NAME_EACH
#define OPENS_STREAM NAME_EACH
#define MAKES_FILE NAME_EACH
#define MAKES_FOLDER NAME_EACH
#define WRITES NAME_EACH
#define MAPS NAME_EACH
#define FORWARDS NAME_EACH

static const struct { const char *name; void *function; } wrappers[] = {
#include "wrappers.def"
};

/* Return our function of this NAME; NULL if there is none. */
void *wrapper_of(const char *name)
{
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        if (!strcmp(wrappers[i].name, name))
            return wrappers[i].function;
    return NULL;
}

#undef CHANGES
#undef MAY_CHANGE
#undef MAY_CHANGE_WITH_MODE
#undef OPENS_STREAM
#undef MAKES_FILE
#undef MAKES_FOLDER
#undef WRITES
#undef MAPS
#undef FORWARDS

/* --- the functions --- */

static inline int same_descriptor(int fd)
{
    return fd;
}

static inline int descriptor_of(FILE *file)
{
    return file ? fileno(file) : -1;
}

static void *ask_kernel(void *address, size_t size, int protection, int flags, int fd, off_t at)
{
    long result = RAW(SYS_mmap, address, size, protection, flags, fd, at);
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return MAP_FAILED;
    }
    return (void *)result;
}

/* The folder of a relative name, unless the function has a parameter of this name. */
enum { dir = AT_FDCWD };

#define DESCRIPTOR(result) _Generic((result), int: same_descriptor, FILE *: descriptor_of)(result)

#define CHANGES(type, name, parameters, arguments, recording) \
    type name parameters                                      \
    {                                                         \
        FIND_NEXT(name);                                      \
        struct held held;                                     \
        hold(&held);                                          \
        recording;                                            \
        type result = next_##name arguments;                  \
        release(&held);                                       \
        return result;                                        \
    }

#define MAY_CHANGE(type, name, parameters, arguments, recording) \
    type name parameters                                         \
    {                                                            \
        FIND_NEXT(name);                                         \
        struct held held;                                        \
        recording;                                               \
        type result = next_##name arguments;                     \
        release_open(&held, DESCRIPTOR(result));                 \
        return result;                                           \
    }

#define MAY_CHANGE_WITH_MODE(type, name, parameters, arguments, recording) \
    type name parameters                                                   \
    {                                                                      \
        FIND_NEXT(name);                                                   \
        mode_t mode = 0;                                                   \
        if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {         \
            va_list rest;                                                  \
            va_start(rest, flags);                                         \
            mode = va_arg(rest, mode_t);                                   \
            va_end(rest);                                                  \
        }                                                                  \
        if (refuses_unnamed(flags))                                        \
            return -1;                                                     \
        struct held held;                                                  \
        recording;                                                         \
        int ends[2];                                                       \
        type result = await_other_end(dir, path, flags, ends);             \
        if (!result)                                                       \
            result = next_##name arguments;                                \
        close_ends(ends);                                                  \
        if (result == -1 && errno == ENXIO)                                \
            result = open_pipe_again(path, flags);                         \
        share_stream(path, result);                                        \
        release_open(&held, result);                                       \
        return result;                                                     \
    }

#define OPENS_STREAM(type, name, parameters, arguments, recording) \
    type name parameters                                           \
    {                                                              \
        FIND_NEXT(name);                                           \
        struct held held;                                          \
        recording;                                                 \
        int ends[2];                                               \
        type result = NULL;                                        \
        if (!await_other_end(dir, path, flags_of_mode(mode), ends))\
            result = next_##name arguments;                        \
        close_ends(ends);                                          \
        if (!result && errno == ENXIO)                             \
            result = open_pipe_stream_again(path, mode);           \
        share_stream(path, DESCRIPTOR(result));                    \
        release_open(&held, DESCRIPTOR(result));                   \
        return result;                                             \
    }

#define MAKES_FILE(type, name, parameters, arguments, recording) \
    type name parameters                                         \
    {                                                            \
        FIND_NEXT(name);                                         \
        struct held held;                                        \
        hold(&held);                                             \
        type result = next_##name arguments;                     \
        if (result >= 0)                                         \
            recording;                                           \
        held.is_made = 1;                                        \
        release_open(&held, result);                             \
        return result;                                           \
    }

#define MAKES_FOLDER(type, name, parameters, arguments, recording) \
    type name parameters                                           \
    {                                                              \
        FIND_NEXT(name);                                           \
        struct held held;                                          \
        hold(&held);                                               \
        type result = next_##name arguments;                       \
        if (result)                                                \
            recording;                                             \
        release(&held);                                            \
        return result;                                             \
    }

#define WRITES(type, name, parameters, arguments, recording) \
    type name parameters                                     \
    {                                                        \
        FIND_NEXT(name);                                     \
        struct held held;                                    \
        recording;                                           \
        type result = next_##name arguments;                 \
        release(&held);                                      \
        return result;                                       \
    }

#define MAPS(type, name, parameters, arguments, recording) \
    type name parameters                                   \
    {                                                      \
        if (!next_##name && !is_looking) {                 \
            is_looking = 1;                                \
            FIND_NEXT(name);                               \
            is_looking = 0;                                \
        }                                                  \
        if (!next_##name)                                  \
            return ask_kernel arguments;                   \
        struct held held;                                  \
        recording;                                         \
        type result = next_##name arguments;               \
        release(&held);                                    \
        return result;                                     \
    }

#define FORWARDS(type, name, parameters, arguments, function) \
    type name parameters                                      \
    {                                                         \
        return function arguments;                            \
    }

#include "wrappers.def"
