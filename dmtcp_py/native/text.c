/* Text and numbers without snprintf(), which needs some kilobytes of the stack; part of the plugin `files`. */

#include <string.h>

#include "files.h"

/* Append WHAT to TEXT, as much of it as there is room for. */
void add(struct text *text, const char *what)
{
    size_t room = (size_t)(text->end - text->at), size = strnlen(what, room);
    memcpy(text->at, what, size);
    text->at += size;
    *text->at = 0;
}

/* Append VALUE to TEXT in this BASE, with zeros in front up to WIDTH digits. */
void add_number(struct text *text, uint64_t value, unsigned base, int width)
{
    char digits[24], *at = digits + sizeof digits - 1;
    *at = 0;
    do {
        *--at = "0123456789abcdef"[value % base];
        value /= base;
    } while (--width > 0 || value);
    add(text, at);
}

/* Append VALUE to TEXT, with its sign. */
void add_signed(struct text *text, int64_t value)
{
    if (value < 0)
        add(text, "-");
    add_number(text, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, 0);
}

/* Write to LINK the name under which the kernel shows the descriptor FD. */
void name_descriptor(char link[FD_LINK], int fd)
{
    struct text text = { link, link + FD_LINK - 1 };
    add(&text, "/proc/self/fd/");
    add_signed(&text, fd);
}
