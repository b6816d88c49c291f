/* The old content of ranges of files, kept before the program overwrites them; part of the plugin `files`.

   Of files that are too large to be copied, and of those that a checkpoint found open, the journal keeps what is
   overwritten: whole blocks, each once a part, in the file `blocks`, with an entry for each range. Nothing is kept of
   what is appended: a rollback cuts it off.

   There is no lock between processes. If two keep the same block, the entry of the one that wrote first comes first,
   as it writes only after that; and the first entry is undone last. */

#define _GNU_SOURCE
#include <linux/falloc.h>
#include <pthread.h>
#include <string.h>

#include "changes.h"
#include "files.h"

/* headers of older kernels do not have them */
#ifndef FALLOC_FL_COLLAPSE_RANGE
#define FALLOC_FL_COLLAPSE_RANGE 0x08
#endif
#ifndef FALLOC_FL_INSERT_RANGE
#define FALLOC_FL_INSERT_RANGE 0x20
#endif

#define BLOCK (1L << 16)
#define PIECE (1L << 18)

static uint64_t key_of_block(const struct stat *found, off_t at)
{
    return key_of(found, FIRST_BLOCK + (uint64_t)(at / BLOCK), "");
}

/* Keep what FROM has between START and END in TO, and write the entry; return whether that succeeded. */
static int keep_piece(unsigned part, struct buffers *buffers, struct stat *found, const int fds[2], char *memory,
                      off_t start, off_t end)
{
    char copy[COPY_NAME];
    struct text text = TEXT_IN(copy);
    struct stat blocks;
    long size = RAW(SYS_pread64, fds[0], memory, end - start, start);
    if (size <= 0 || raw_stat(fds[1], "", AT_EMPTY_PATH, &blocks))
        return size == 0; /* it has become shorter: there is nothing to keep */
    if (blocks.st_size + size > MOST_KEPT || !has_room(journal_folder, size) || !may_grow_to(blocks.st_size + size)
        || RAW(SYS_write, fds[1], memory, size) != size)
        return 0;
    /* others append too: where this went is known afterwards */
    add_number(&text, (uint64_t)start, 10, 0);
    add(&text, "+");
    add_number(&text, (uint64_t)size, 10, 0);
    add(&text, "@");
    add_number(&text, (uint64_t)(RAW(SYS_lseek, fds[1], 0, SEEK_CUR) - size), 10, 0);
    struct entry entry = { .kind = 'R', .found = found, .copy = copy, .path = buffers->real };
    return append_entry(part, buffers, &entry);
}

/* Return the end of the blocks from *AT on that are not recorded yet, after moving *AT over those that are. */
static off_t end_of_new(unsigned part, const struct stat *found, off_t *at, off_t to)
{
    while (*at < to && is_recorded(key_of_block(found, *at), part))
        *at += BLOCK;
    off_t end = *at;
    while (end < to && end - *at < PIECE && !is_recorded(key_of_block(found, end), part))
        end += BLOCK;
    return end;
}

/* Keep the content of the file FOUND at `buffers->real` between FROM and TO. */
void keep_range(unsigned part, struct buffers *buffers, struct stat *found, off_t from, off_t to)
{
    int fds[2] = { -1, -1 }, is_kept = 1;
    char *memory = NULL;
    off_t at = from - from % BLOCK;
    for (off_t end; is_kept && (end = end_of_new(part, found, &at, to)) > at; at = end) {
        if (!memory) {
            memory = raw_map(PIECE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
            fds[0] = raw_open(buffers->real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
            fds[1] = open_in_part(part, "blocks", O_WRONLY | O_APPEND | O_CREAT);
        }
        is_kept = memory && fds[0] >= 0 && fds[1] >= 0
                  && keep_piece(part, buffers, found, fds, memory, at, end < found->st_size ? end : found->st_size);
        for (off_t block = at; is_kept && block < end; block += BLOCK)
            remember(key_of_block(found, block), part);
    }
    if (memory)
        RAW(SYS_munmap, memory, PIECE);
    raw_close(fds[0]);
    raw_close(fds[1]);
    if (!is_kept)
        lose(buffers->real);
}

/* Keep the content of the file FOUND behind FD between FROM and TO, unless its whole content is recorded. What IS_MAPPED
   and in memory is segments, which the images contain. */
static void record_range(int fd, struct stat *found, off_t from, off_t to, int is_mapped)
{
    char link[FD_LINK];
    unsigned part = find_part();
    if (!part || is_recorded(key_of(found, CHANGED, ""), part))
        return;
    struct buffers *buffers = borrow_buffers();
    name_descriptor(link, fd);
    if (!buffers) {
        lose(link);
        return;
    }
    if (find_file(AT_FDCWD, link, buffers->real, found)) {
        struct entry entry = { .kind = 'F', .found = found, .copy = "-", .path = buffers->real };
        entry.content = key_of(found, CHANGED, "");
        if (!is_in_memory(buffers->real))
            keep_range(part, buffers, found, from, to < found->st_size ? to : found->st_size);
        else if (!is_mapped)
            write_entry(part, buffers, &entry);
    }
    return_buffers(buffers);
}

/* Whether FD leads to a regular file with a name, which is FOUND. */
static int is_file(int fd, struct stat *found)
{
    return !raw_stat(fd, "", AT_EMPTY_PATH, found) && S_ISREG(found->st_mode) && found->st_nlink > 0;
}

/* Whether the file FOUND, open with FLAGS, needs no entry, whether a checkpoint comes in between or not: its content is
   recorded, and at a checkpoint a small file that is open for reading and writing is copied. */
static int is_covered(const struct stat *found, long flags)
{
    unsigned part = (flags & O_ACCMODE) == O_RDWR && found->st_size <= MOST_COPIED ? find_part() : 0;
    return part && is_recorded(key_of(found, CHANGED, ""), part);
}

/* Record what writing SIZE bytes to FD at this place overwrites, and hold checkpoints back until release() if that is
   anything. What has no place, as pipes and sockets, costs one system call. */
void record_written(struct held *held, int fd, off_t at, size_t size)
{
    struct stat found;
    hold_nothing(held);
    if (at == HERE)
        at = (off_t)RAW(SYS_lseek, fd, 0, SEEK_CUR);
    if (at < 0 || !size || !is_file(fd, &found) || at >= found.st_size)
        return;
    long flags = RAW(SYS_fcntl, fd, F_GETFL);
    if (flags < 0 || flags & O_APPEND || (flags & O_ACCMODE) == O_RDONLY || is_covered(&found, flags))
        return;
    pthread_testcancel();
    hold(held);
    record_range(fd, &found, at, size < (size_t)(found.st_size - at) ? at + (off_t)size : found.st_size, 0);
}

/* Record what cutting FD to SIZE takes away. */
void record_cut(struct held *held, int fd, off_t size)
{
    struct stat found;
    hold_nothing(held);
    if (size < 0 || !is_file(fd, &found) || size >= found.st_size)
        return;
    hold(held);
    record_range(fd, &found, size, found.st_size, 0);
}

/* Without a mode fallocate() only makes the file larger. */
void record_allocated(struct held *held, int fd, int mode, off_t from, off_t size)
{
    struct stat found;
    hold_nothing(held);
    if (!(mode & ~FALLOC_FL_KEEP_SIZE) || from < 0 || size <= 0 || !is_file(fd, &found) || from >= found.st_size)
        return;
    pthread_testcancel();
    hold(held);
    int moves = mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
    record_range(fd, &found, from, moves || size > found.st_size - from ? found.st_size : from + size, 0);
}

/* Record the part of a file that the program maps so that it can write it as memory. */
void record_mapped(struct held *held, int fd, int protection, int flags, off_t at, size_t size)
{
    struct stat found;
    hold_nothing(held);
    if (fd < 0 || !(flags & MAP_SHARED) || flags & MAP_ANONYMOUS || !(protection & PROT_WRITE) || at < 0
        || !is_file(fd, &found) || at >= found.st_size)
        return;
    hold(held);
    record_range(fd, &found, at, size < (size_t)(found.st_size - at) ? at + (off_t)size : found.st_size, 1);
}

/* Return the number of bytes in COUNT PARTS; their addresses may be wrong, as the kernel will then find. */
size_t size_of_all(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; parts && i < count && count <= UIO_MAXIOV; i++)
        size += parts[i].iov_len;
    return size;
}
