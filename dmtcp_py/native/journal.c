/* The journal of what a program does to files by name (see journal.h): its folder, its parts, and what is written to
   them; part of the plugin `files`.

   Each process writes to the list of the part by itself, and remembers keys (keys.c) of what the list says, its own
   entries and those of others. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "files.h"
#include "journal.h"

#define MOST_LIST (64L << 20)
#define MOST_READ (4L << 20)
#define WRITE_TRIES 3
#define RECENT_S 2

/* A line: a NUL that ends what an interrupted write left, a header, the entry (from its two keys on), a NUL. The header
   has the length of the entry, the size of the list before, and a check of both, of the part and of the entry. */
#define LENGTH_SIZE 6 /* 5 digits and a colon */
#define SIZE_DIGITS 8 /* so many digits have sizes and checks */
#define COVERED_SIZE (LENGTH_SIZE + SIZE_DIGITS + 1)
#define HEADER_SIZE (COVERED_SIZE + SIZE_DIGITS + 1)
#define KEY_SIZE 17 /* 16 digits and a tab */
#define FIRST_OF_ENTRY (1 + HEADER_SIZE)

char job_folder[PATH_MAX];
char journal_folder[PATH_MAX];
char now_path[PATH_MAX], next_path[PATH_MAX], hold_path[PATH_MAX], gate_path[PATH_MAX], shut_path[PATH_MAX],
    lost_path[PATH_MAX];
volatile int is_journal_known;
int is_memory_recorded;
volatile int is_suspended;
volatile int has_events;
volatile unsigned current_part;

static unsigned part_read; /* the part whose list was read, so that entries of other processes are known too */

static struct buffers first_buffers;
static int are_first_buffers_lent; /* in a child of fork() maybe for ever: the thread that has them is not there */

/* Return buffers that belong to the caller alone; NULL if there is no memory. */
struct buffers *borrow_buffers(void)
{
    if (!__atomic_exchange_n(&are_first_buffers_lent, 1, __ATOMIC_ACQUIRE))
        return &first_buffers;
    return raw_map(sizeof(struct buffers), PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
}

void return_buffers(struct buffers *buffers)
{
    if (buffers == &first_buffers)
        __atomic_store_n(&are_first_buffers_lent, 0, __ATOMIC_RELEASE);
    else
        RAW(SYS_munmap, buffers, sizeof *buffers);
}

/* Write LENGTH bytes of FOLDER, and NAME below it, to PATH. */
static void name_path(char path[PATH_MAX], const char *folder, size_t length, const char *name)
{
    struct text text = { path, path + PATH_MAX - 1 };
    if (length < PATH_MAX - 32) {
        memcpy(path, folder, length);
        text.at += length;
        add(&text, name);
    }
}

static void name_paths(const char *job, size_t length)
{
    name_path(job_folder, job, length, "");
    name_path(now_path, job, length, "/undo/now");
    name_path(next_path, job, length, "/undo/next");
    name_path(hold_path, job, length, "/undo/hold");
    name_path(gate_path, job, length, "/undo/gate");
    name_path(shut_path, job, length, "/undo/shut");
    name_path(lost_path, job, length, "/undo/now/lost");
    name_path(journal_folder, job, length, "/undo");
}

/* Find the folders of the job and of its journal, once: under DMTCP by the folder for images, which after a restart may
   be another one, or else by the environment. */
void find_journal(void)
{
    if (is_journal_known)
        return;
    const char *given = getenv("DMTCP_RUN_UNDO"), *staging = dmtcp_get_ckpt_dir ? dmtcp_get_ckpt_dir() : NULL;
    const char *end = staging ? strstr(staging, "/staging/") : NULL;
    if (end)
        name_paths(staging, (size_t)(end - staging));
    else if (given && strrchr(given, '/'))
        name_paths(given, (size_t)(strrchr(given, '/') - given));
    else if (dmtcp_get_ckpt_dir)
        return; /* DMTCP does not know its folder yet */
    is_memory_recorded = dmtcp_get_ckpt_dir || getenv("DMTCP_RUN_SHM");
    is_journal_known = 1;
}

/* --- the part that is written to --- */

/* Remember the keys of each whole line between TEXT and END. */
static void remember_lines(const char *text, const char *end, unsigned part)
{
    for (const char *at = text; at && end - at > 48;) {
        const char *last = memchr(at, 0, (size_t)(end - at)), *keys = at + HEADER_SIZE;
        if (last && last - at > HEADER_SIZE + 2 * KEY_SIZE && keys + strtoul(at, NULL, 16) == last) {
            remember(strtoul(keys, NULL, 16), part);
            remember(strtoul(keys + KEY_SIZE, NULL, 16), part);
        }
        at = last ? last + 1 : NULL;
    }
}

/* Open the folder of PART, for calls that take a name in it. */
int open_part(unsigned part)
{
    char name[PART];
    struct text text = TEXT_IN(name);
    add_number(&text, part, 10, 6);
    int journal = raw_open(journal_folder, O_PATH | O_DIRECTORY, 0);
    int folder = (int)RAW(SYS_openat, journal, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    raw_close(journal);
    return folder;
}

/* Open the file NAME in the folder of PART. */
int open_in_part(unsigned part, const char *name, int flags)
{
    int folder = open_part(part);
    int fd = (int)RAW(SYS_openat, folder, name, flags | O_CLOEXEC, 0600);
    raw_close(folder);
    return fd;
}

/* Remember what other processes have recorded in PART. */
static void read_list(unsigned part)
{
    int fd = open_in_part(part, "list", O_RDONLY);
    struct stat found;
    if (fd < 0)
        return;
    if (!raw_stat(fd, "", AT_EMPTY_PATH, &found) && found.st_size > 0) {
        size_t size = (size_t)(found.st_size < MOST_READ ? found.st_size : MOST_READ);
        char *text = raw_map(size, PROT_READ, 0, fd);
        if (text) {
            remember_lines(text, text + size, part);
            RAW(SYS_munmap, text, size);
        }
    }
    raw_close(fd);
}

/* Return the number of the part that is written to; 0 if nothing is recorded. */
unsigned find_part(void)
{
    char now[PART];
    unsigned part = current_part;
    find_journal();
    if (!journal_folder[0] || is_suspended)
        return 0;
    if (!part) {
        if (raw_link_text(now_path, now, PART) <= 0)
            return 0;
        part = (unsigned)strtoul(now, NULL, 10);
        if (has_events)
            current_part = part;
    }
    if (part != __atomic_load_n(&part_read, __ATOMIC_ACQUIRE)) {
        read_list(part);
        __atomic_store_n(&part_read, part, __ATOMIC_RELEASE);
    }
    return part;
}

/* --- entries --- */

/* Say that PATH cannot be recorded: write it to `lost`, which has the room already, or else remove that. It is in the
   part that is written to, as no checkpoint is taken meanwhile; another way to it would need more descriptors. */
void lose(const char *path)
{
    int fd = raw_open(lost_path, O_WRONLY, 0);
    size_t size = strnlen(path, PATH_MAX - 1);
    if (fd < 0 || RAW(SYS_pwrite64, fd, path, size, 0) != (long)size)
        RAW(SYS_unlinkat, AT_FDCWD, lost_path, 0);
    raw_close(fd);
}

/* Whether a file may become as large as SIZE: beyond a limit that the program has set itself, a signal would end it. */
int may_grow_to(off_t size)
{
    struct rlimit limit;
    return RAW(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit) || (rlim_t)size <= limit.rlim_cur;
}

/* Write ENTRY as a line, with its NULs and the place for its header, and return the size; 0 if it is too long. */
static int format_line(char *line, const struct entry *entry)
{
    const struct stat *found = entry->found;
    struct text text = { line + FIRST_OF_ENTRY, line + LINE - 1 };
    add_number(&text, entry->name, 16, 16);
    add(&text, "\t");
    add_number(&text, entry->content, 16, 16);
    add(&text, (const char[]){ '\t', entry->kind, '\t', 0 });
    add_signed(&text, found->st_size);
    add(&text, "\t");
    add_signed(&text, found->st_mtim.tv_sec * 1000000000L + found->st_mtim.tv_nsec);
    add(&text, "\t");
    add_number(&text, found->st_mode, 8, 0);
    add(&text, "\t");
    add_number(&text, found->st_ino, 10, 0);
    add(&text, "\t");
    add_number(&text, found->st_dev, 10, 0);
    add(&text, "\t");
    add(&text, entry->copy);
    add(&text, "\t");
    add(&text, entry->path);
    line[0] = 0;
    return IS_FULL(text) ? 0 : (int)(text.at - line) + 1;
}

/* Write the header of the LINE of this SIZE, which is appended to the list of PART when that has LIST_SIZE. */
static void write_header(char *line, int size, unsigned part, off_t list_size)
{
    char name[PART];
    struct text part_name = TEXT_IN(name), header = { line + 1, line + HEADER_SIZE };
    size_t length = (size_t)(size - FIRST_OF_ENTRY - 1);
    add_number(&part_name, part, 10, 6);
    add_number(&header, length, 16, LENGTH_SIZE - 1);
    add(&header, ":");
    add_number(&header, (uint64_t)list_size, 16, SIZE_DIGITS);
    add(&header, ":");
    uint32_t check = check_of(name, (size_t)(part_name.at - name), 0);
    check = check_of(line + 1, COVERED_SIZE, check);
    add_number(&header, check_of(line + FIRST_OF_ENTRY, length, check), 16, SIZE_DIGITS);
    line[HEADER_SIZE] = '\t';
}

/* Record the SIZE that the list in FOLDER has now, so that it is seen if its end gets lost. */
static void record_size(int folder, off_t size)
{
    char digits[PART];
    struct text text = TEXT_IN(digits);
    add_number(&text, (uint64_t)size, 16, SIZE_DIGITS);
    int fd = may_grow_to(SIZE_DIGITS) ? (int)RAW(SYS_openat, folder, "size", O_WRONLY | O_CLOEXEC, 0) : -1;
    if (fd >= 0) {
        RAW(SYS_pwrite64, fd, digits, SIZE_DIGITS, 0);
        raw_close(fd);
    }
}

enum { WRITTEN, NOT_WRITTEN, NO_SPACE };

static int append_line(unsigned part, char *line, int size)
{
    struct stat found;
    int folder = open_part(part), result = NO_SPACE;
    int fd = (int)RAW(SYS_openat, folder, "list", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && !raw_stat(fd, "", AT_EMPTY_PATH, &found) && found.st_size < MOST_LIST
        && may_grow_to(found.st_size + size)) {
        write_header(line, size, part, found.st_size);
        result = RAW(SYS_write, fd, line, (size_t)size) == size ? WRITTEN : NOT_WRITTEN;
        if (result == WRITTEN)
            record_size(folder, found.st_size + size);
    }
    raw_close(fd);
    raw_close(folder);
    return result;
}

/* Append ENTRY to the list of PART; return whether that succeeded. */
int append_entry(unsigned part, struct buffers *buffers, const struct entry *entry)
{
    int size = format_line(buffers->line, entry), result = size ? NOT_WRITTEN : NO_SPACE;
    /* a checkpoint may close the descriptor, which DMTCP did not see opened: then once more */
    for (int times = 0; result == NOT_WRITTEN && times < WRITE_TRIES; times++)
        result = append_line(part, buffers->line, size);
    return result == WRITTEN;
}

/* A file without a copy counts as unchanged while its size and time are the same. One that was written to just now may
   have the same time after the next write: record none. */
static void forget_recent_time(struct stat *found)
{
    struct timespec now;
    RAW(SYS_clock_gettime, CLOCK_REALTIME, &now);
    if (now.tv_sec - found->st_mtim.tv_sec < RECENT_S)
        found->st_mtim.tv_sec = found->st_mtim.tv_nsec = 0;
}

/* Append ENTRY to the list of PART, and remember its keys; write its path to `lost` if that fails. */
void write_entry(unsigned part, struct buffers *buffers, const struct entry *entry)
{
    if (!strcmp(entry->copy, "-") && entry->kind == 'F')
        forget_recent_time(entry->found);
    if (append_entry(part, buffers, entry)) {
        remember(entry->name, part);
        remember(entry->content, part);
    } else {
        lose(entry->path);
    }
}
