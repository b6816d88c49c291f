/* The numbers of processes in the files below /proc, which DMTCP (3.2, 4.2, 5.0) leaves as the kernel's; part of the
   plugin `forks`.

   getpid(), wait() and kill() have DMTCP's numbers, and so have the names of files below /proc. What is in the files
   `stat`, `status` and `children` of a process or a thread does not: `ps -p`, `pgrep -P` and a script that reads
   /proc/self/stat find nothing, or another process. So what read() returns of them is translated here, and what a
   stream of fopen() returns, as the C library reads that itself. What is in them begins with a number or with "Name:", so
   that nothing is looked up for other files. What the program reads in parts is cut from the translated text. */

#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "forks.h"
#include "raw.h"

#define PROC_MAGIC 0x9fa0
#define MOST_TEXT 16384 /* of a file, and of its translation */
#define PROC "/proc/"
#define AT_POSITION (-1)

/* --- which files --- */

static const char *last_part(const char *path)
{
    const char *last = strrchr(path, '/');
    return last ? last + 1 : path;
}

static bool is_digit(char one)
{
    return one >= '0' && one <= '9';
}

static bool is_named_so(const char *path)
{
    const char *name = last_part(path);
    return !strncmp(path, PROC, strlen(PROC)) && strchr(path + strlen(PROC), '/') &&
           (!strcmp(name, "stat") || !strcmp(name, "status") || !strcmp(name, "children"));
}

/* Whether TEXT may be the beginning of one of these files. */
static bool may_have_numbers(const char *text, ssize_t size)
{
    static const char name[] = "Name:\t";
    ssize_t at = 0;
    while (at < size && is_digit(text[at]))
        at++;
    if (at)
        return at == size || text[at] == ' ';
    ssize_t length = size < (ssize_t)strlen(name) ? size : (ssize_t)strlen(name);
    return !memcmp(text, name, (size_t)length);
}

static bool has_numbers(int fd)
{
    struct statfs found;
    char link[LINK_LENGTH], path[LINK_LENGTH];
    if (RAW(SYS_fstatfs, fd, &found) || found.f_type != PROC_MAGIC)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return raw_link_text(link, path, sizeof path) > 0 && is_digit(path[strlen(PROC)]) && is_named_so(path);
}

/* --- the translation --- */

struct text {
    char *at, *end;
};

static void add(struct text *to, const char *from, size_t size)
{
    if (size > (size_t)(to->end - to->at))
        size = (size_t)(to->end - to->at);
    memcpy(to->at, from, size);
    to->at += size;
}

/* Add the text from FROM to END, with all numbers in it, or the first MOST, translated. */
static void add_numbers(struct text *to, const char *from, const char *end, unsigned long which)
{
    char digits[16];
    for (; from < end; which >>= 1) {
        while (from < end && !is_digit(*from) && *from != '-')
            add(to, from++, 1);
        const char *first = from;
        while (from < end && (is_digit(*from) || *from == '-'))
            from++;
        if (!(which & 1) || first == from) {
            add(to, first, (size_t)(from - first));
            continue;
        }
        int number = atoi(first);
        int length = snprintf(digits, sizeof digits, "%d", number > 0 ? programs_number(number) : number);
        add(to, digits, (size_t)length);
    }
}

/* `pid (name) state ppid pgrp session tty tpgid …`; the name may have any character. */
static void add_stat(struct text *to, const char *from, const char *end)
{
    const char *name_end = memrchr(from, ')', (size_t)(end - from)), *name = memchr(from, '(', (size_t)(end - from));
    if (!name_end || !name)
        return add(to, from, (size_t)(end - from));
    add_numbers(to, from, name, ~0UL);
    add(to, name, (size_t)(name_end - name));
    add_numbers(to, name_end, end, 1 | 2 | 4 | 16);
}

static void add_status(struct text *to, const char *from, const char *end)
{
    static const char *const names[] = { "Tgid:", "Ngid:", "Pid:", "PPid:", "TracerPid:", "NStgid:", "NSpid:", "NSpgid:", "NSsid:" };
    while (from < end) {
        const char *line_end = memchr(from, '\n', (size_t)(end - from));
        line_end = line_end ? line_end + 1 : end;
        unsigned long which = 0;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (!strncmp(from, names[i], strlen(names[i])))
                which = ~0UL;
        add_numbers(to, from, line_end, which);
        from = line_end;
    }
}

static void translate(struct text *to, const char *from, const char *end)
{
    if (*from == 'N')
        add_status(to, from, end);
    else if (memchr(from, '(', (size_t)(end - from)))
        add_stat(to, from, end);
    else
        add_numbers(to, from, end, ~0UL);
}

/* --- reading --- */

static volatile int read_in_parts = -1; /* a descriptor of which the program has read the beginning only */

static size_t whole_text(int fd, char *text)
{
    size_t size = 0;
    for (long got; size < MOST_TEXT && (got = RAW(SYS_pread64, fd, text + size, MOST_TEXT - size, size)) > 0;)
        size += (size_t)got;
    return size;
}

/* Copy to BUFFER what is at AT in the translation of the file, and set the position of FD if it was read AT_POSITION. */
static ssize_t copy_part(int fd, char *buffer, size_t size, off_t at, ssize_t got, char *text)
{
    bool moves = at == AT_POSITION;
    size_t length = whole_text(fd, text);
    struct text to = { text + MOST_TEXT, text + 2 * MOST_TEXT };
    if (!length)
        return got;
    translate(&to, text, text + length);
    size_t full = (size_t)(to.at - text) - MOST_TEXT;
    if (moves)
        at = (off_t)RAW(SYS_lseek, fd, 0, SEEK_CUR) - got;
    size_t from = (size_t)at < full ? (size_t)at : full;
    size_t part = full - from < size ? full - from : size;
    memcpy(buffer, text + MOST_TEXT + from, part);
    if (moves) {
        bool is_last = from + part == full;
        RAW(SYS_lseek, fd, is_last && full < length ? length : from + part, SEEK_SET);
        read_in_parts = is_last ? -1 : fd;
    }
    return (ssize_t)part;
}

/* Of a file with numbers, put the program's into what was read; otherwise leave it as it is. */
static ssize_t with_numbers(int fd, char *buffer, size_t size, off_t at, ssize_t got)
{
    int saved = errno;
    char *text;
    hold_checkpoints(); /* the kernel's numbers are others afterwards */
    if (has_numbers(fd) && (text = raw_map(2 * MOST_TEXT, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1))) {
        got = copy_part(fd, buffer, size, at, got, text);
        RAW(SYS_munmap, text, 2 * MOST_TEXT);
    } else if (fd == read_in_parts) {
        read_in_parts = -1;
    }
    let_checkpoints();
    errno = saved;
    return got;
}

static ssize_t looked_at(int fd, void *buffer, size_t size, off_t at, ssize_t got)
{
    if (got <= 0 || (fd != read_in_parts && !may_have_numbers(buffer, got)))
        return got;
    return with_numbers(fd, buffer, size, at, got);
}

ssize_t read(int fd, void *buffer, size_t size)
{
    FIND_AFTER(read);
    return looked_at(fd, buffer, size, AT_POSITION, next(fd, buffer, size));
}

ssize_t pread(int fd, void *buffer, size_t size, off_t at)
{
    FIND_AFTER(pread);
    return looked_at(fd, buffer, size, at, next(fd, buffer, size, at));
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t at)
{
    FIND_AFTER(pread64);
    return looked_at(fd, buffer, size, at, next(fd, buffer, size, at));
}

ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);

/* what _FORTIFY_SOURCE makes of it */
ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room)
{
    FIND_AFTER(__read_chk);
    return looked_at(fd, buffer, size, AT_POSITION, next(fd, buffer, size, room));
}

/* --- streams --- */

static ssize_t read_stream(void *cookie, char *buffer, size_t size)
{
    return read((int)(intptr_t)cookie, buffer, size);
}

static int seek_stream(void *cookie, off64_t *at, int whence)
{
    off64_t result = lseek64((int)(intptr_t)cookie, *at, whence);
    if (result < 0)
        return -1;
    *at = result;
    return 0;
}

static int close_stream(void *cookie)
{
    return close((int)(intptr_t)cookie);
}

/* A stream that reads by the read() above. */
static FILE *open_stream(const char *path, const char *mode)
{
    const cookie_io_functions_t functions = { .read = read_stream, .seek = seek_stream, .close = close_stream };
    int fd = open(path, O_RDONLY | (strchr(mode, 'e') ? O_CLOEXEC : 0));
    if (fd < 0)
        return NULL;
    FILE *stream = fopencookie((void *)(intptr_t)fd, "r", functions);
    if (!stream)
        close(fd);
    else
        stream->_fileno = fd; /* for fileno() */
    return stream;
}

FILE *fopen(const char *path, const char *mode)
{
    FIND_AFTER(fopen);
    return *mode == 'r' && !strchr(mode, '+') && is_named_so(path) ? open_stream(path, mode) : next(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    FIND_AFTER(fopen64);
    return *mode == 'r' && !strchr(mode, '+') && is_named_so(path) ? open_stream(path, mode) : next(path, mode);
}
