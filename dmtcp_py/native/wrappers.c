/* What programs call instead of the C library, to have the journal (journal.h) record what they do to files by name.
   Loaded into them by DMTCP as a plugin (3.2, 4.2, 5.0), or by LD_PRELOAD.

   All these functions are made from the rows of wrappers.def. */

#define _GNU_SOURCE
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>

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

static inline int same_descriptor(int fd)
{
    return fd;
}

static inline int descriptor_of(FILE *file)
{
    return file ? fileno(file) : -1;
}

#define DESCRIPTOR(result) _Generic((result), int: same_descriptor, FILE *: descriptor_of)(result)

#define CHANGES(type, name, parameters, arguments, recording) \
    type name parameters;                                     \
    type name parameters                                      \
    {                                                         \
        FIND(name);                                           \
        struct held held;                                     \
        hold(&held);                                          \
        recording;                                            \
        type result = next arguments;                         \
        release(&held);                                       \
        return result;                                        \
    }

#define MAY_CHANGE(type, name, parameters, arguments, recording) \
    type name parameters;                                        \
    type name parameters                                         \
    {                                                            \
        FIND(name);                                              \
        struct held held;                                        \
        recording;                                               \
        type result = next arguments;                            \
        release_open(&held, DESCRIPTOR(result));                 \
        return result;                                           \
    }

#define MAY_CHANGE_WITH_MODE(type, name, parameters, arguments, recording) \
    type name parameters                                                   \
    {                                                                      \
        FIND(name);                                                        \
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
        type result = next arguments;                                      \
        if (result == -1 && errno == ENXIO)                                \
            result = open_pipe_again(path, flags);                         \
        release_open(&held, result);                                       \
        return result;                                                     \
    }

#define OPENS_STREAM(type, name, parameters, arguments, recording) \
    type name parameters;                                          \
    type name parameters                                           \
    {                                                              \
        FIND(name);                                                \
        struct held held;                                          \
        recording;                                                 \
        type result = next arguments;                              \
        if (!result && errno == ENXIO)                             \
            result = open_pipe_stream_again(path, mode);           \
        release_open(&held, DESCRIPTOR(result));                   \
        return result;                                             \
    }

#define MAKES_FILE(type, name, parameters, arguments, recording) \
    type name parameters;                                        \
    type name parameters                                         \
    {                                                            \
        FIND(name);                                              \
        struct held held;                                        \
        hold(&held);                                             \
        type result = next arguments;                            \
        if (result >= 0)                                         \
            recording;                                           \
        held.is_made = 1;                                        \
        release_open(&held, result);                             \
        return result;                                           \
    }

#define MAKES_FOLDER(type, name, parameters, arguments, recording) \
    type name parameters;                                          \
    type name parameters                                           \
    {                                                              \
        FIND(name);                                                \
        struct held held;                                          \
        hold(&held);                                               \
        type result = next arguments;                              \
        if (result)                                                \
            recording;                                             \
        release(&held);                                            \
        return result;                                             \
    }

#define FORWARDS(type, name, parameters, arguments, function) \
    type name parameters;                                     \
    type name parameters                                      \
    {                                                         \
        return function arguments;                            \
    }

#include "wrappers.def"
