/* The journal of what a program does to files by name (see journal.h): its folder, its parts, and what is written to
   them; part of the plugin `files`.

   Each process writes to the list of the part by itself, and remembers keys of what the list says, its own entries and
   those of others. There is no lock: a signal handler, or the child of another thread, could wait for it for ever. A
   key that gets lost is recorded once more, which does no harm: the first entry decides. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "files.h"
#include "journal.h"

#define SLOTS 65536
#define MOST_SLOTS 49152
#define MOST_LIST (64L << 20)
#define MOST_READ (4L << 20)
#define WRITE_TRIES 3
#define RECENT_S 2

/* A line: a NUL that ends what an interrupted write left, the length, the entry (from its two keys on), a NUL. */
#define LENGTH_SIZE 6 /* 5 digits and a tab */
#define KEY_SIZE 17   /* 16 digits and a tab */
#define FIRST_OF_ENTRY (1 + LENGTH_SIZE)

char job_folder[PATH_MAX];
char journal_folder[PATH_MAX];
volatile int is_journal_known;
volatile int is_suspended;
volatile int has_events;
volatile unsigned current_part;

static uint64_t known[SLOTS]; /* hashes of a part and a key in it */
static unsigned known_count;
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

/* Find the folders of the job and of its journal, once: under DMTCP by the folder for images, which after a restart may
   be another one, or else by the environment. */
void find_journal(void)
{
    if (is_journal_known)
        return;
    const char *given = getenv("DMTCP_RUN_UNDO"), *staging = dmtcp_get_ckpt_dir ? dmtcp_get_ckpt_dir() : NULL;
    const char *end = staging ? strstr(staging, "/staging/") : NULL;
    if (end && end - staging < PATH_MAX - 8)
        snprintf(job_folder, sizeof job_folder, "%.*s", (int)(end - staging), staging);
    else if (given && strrchr(given, '/') && strlen(given) < PATH_MAX - 8)
        snprintf(job_folder, sizeof job_folder, "%.*s", (int)(strrchr(given, '/') - given), given);
    else if (dmtcp_get_ckpt_dir)
        return; /* DMTCP does not know its folder yet */
    if (job_folder[0])
        snprintf(journal_folder, sizeof journal_folder, "%.*s/undo", (int)(sizeof journal_folder - 8), job_folder);
    is_journal_known = 1;
}

/* --- keys of what is recorded --- */

static uint64_t mixed(uint64_t hash, const void *data, size_t size)
{
    for (const unsigned char *at = data; size--; at++)
        hash = (hash ^ *at) * 1099511628211u;
    return hash;
}

/* Return the key of WHAT is known of the file FOUND; of the NAME in it, if FOUND is a folder. Never 0. */
uint64_t key_of(const struct stat *found, int what, const char *name)
{
    uint64_t values[3] = { found->st_dev, found->st_ino, (uint64_t)what };
    uint64_t hash = mixed(mixed(14695981039346656037u, values, sizeof values), name, strlen(name));
    return hash ? hash : 1;
}

static uint64_t in_part(uint64_t key, unsigned part)
{
    uint64_t hash = mixed(key, &part, sizeof part);
    return hash ? hash : 1;
}

int is_recorded(uint64_t key, unsigned part)
{
    uint64_t hash = in_part(key, part);
    for (unsigned at = hash % SLOTS, times = 0; times < SLOTS; at = (at + 1) % SLOTS, times++) {
        uint64_t there = __atomic_load_n(&known[at], __ATOMIC_ACQUIRE);
        if (there == hash)
            return 1;
        if (!there)
            return 0;
    }
    return 0;
}

/* Remember that the list of PART has what KEY stands for, unless it is 0; forget all others when there are too many. */
void remember(uint64_t key, unsigned part)
{
    uint64_t hash = in_part(key, part);
    if (!key)
        return;
    if (__atomic_load_n(&known_count, __ATOMIC_RELAXED) >= MOST_SLOTS) {
        memset(known, 0, sizeof known);
        __atomic_store_n(&known_count, 0, __ATOMIC_RELAXED);
    }
    for (unsigned at = hash % SLOTS, times = 0; times < SLOTS; at = (at + 1) % SLOTS, times++) {
        uint64_t none = 0;
        if (__atomic_compare_exchange_n(&known[at], &none, hash, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            __atomic_add_fetch(&known_count, 1, __ATOMIC_RELAXED);
            return;
        }
        if (none == hash)
            return;
    }
}

/* --- the part that is written to --- */

/* Remember the keys of each whole line between TEXT and END. */
static void remember_lines(const char *text, const char *end, unsigned part)
{
    for (const char *at = text; at && end - at > 48;) {
        const char *last = memchr(at, 0, (size_t)(end - at)), *keys = at + LENGTH_SIZE;
        if (last && last - at > LENGTH_SIZE + 2 * KEY_SIZE && keys + strtoul(at, NULL, 16) == last) {
            remember(strtoul(keys, NULL, 16), part);
            remember(strtoul(keys + KEY_SIZE, NULL, 16), part);
        }
        at = last ? last + 1 : NULL;
    }
}

/* Remember what other processes have recorded in PART. */
static void read_list(unsigned part)
{
    char path[PATH_MAX + PART + 8];
    snprintf(path, sizeof path, "%s/%06u/list", journal_folder, part);
    int fd = raw_open(path, O_RDONLY, 0);
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
    char path[PATH_MAX + 8], now[PART];
    unsigned part = current_part;
    find_journal();
    if (!journal_folder[0] || is_suspended)
        return 0;
    if (!part) {
        snprintf(path, sizeof path, "%s/now", journal_folder);
        if (raw_link_text(path, now, PART) <= 0)
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

/* Say that PATH cannot be recorded in PART: write it to `lost`, which has the room already, or else remove that. */
void lose(unsigned part, const char *path)
{
    char lost[PATH_MAX + PART + 8];
    snprintf(lost, sizeof lost, "%s/%06u/lost", journal_folder, part);
    int fd = raw_open(lost, O_WRONLY, 0);
    size_t size = strnlen(path, PATH_MAX - 1);
    if (fd < 0 || RAW(SYS_pwrite64, fd, path, size, 0) != (long)size)
        RAW(SYS_unlinkat, AT_FDCWD, lost, 0);
    raw_close(fd);
}

/* Whether a file may become as large as SIZE: beyond a limit that the program has set itself, a signal would end it. */
int may_grow_to(off_t size)
{
    struct rlimit limit;
    return RAW(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit) || (rlim_t)size <= limit.rlim_cur;
}

/* Write ENTRY as a line, with its NULs and its length, and return the size of that; 0 if it is too long. */
static int format_line(char *line, const struct entry *entry)
{
    const struct stat *found = entry->found;
    char length[LENGTH_SIZE + 2];
    int size = snprintf(line + FIRST_OF_ENTRY, LINE - FIRST_OF_ENTRY,
                        "%016lx\t%016lx\t%c\t%ld\t%ld\t%o\t%lu\t%lu\t%s\t%s", (unsigned long)entry->name,
                        (unsigned long)entry->content, entry->kind, (long)found->st_size,
                        found->st_mtim.tv_sec * 1000000000L + found->st_mtim.tv_nsec, (unsigned)found->st_mode,
                        (unsigned long)found->st_ino, (unsigned long)found->st_dev, entry->copy, entry->path);
    if (size <= 0 || size >= LINE - FIRST_OF_ENTRY - 1)
        return 0;
    snprintf(length, sizeof length, "%05x\t", (unsigned)size);
    line[0] = 0;
    memcpy(line + 1, length, LENGTH_SIZE);
    return FIRST_OF_ENTRY + size + 1;
}

/* Append ENTRY to the list of PART; return whether that succeeded. */
int append_entry(unsigned part, struct buffers *buffers, const struct entry *entry)
{
    char list[PATH_MAX + PART + 8];
    struct stat found;
    int size = format_line(buffers->line, entry);
    if (!size)
        return 0;
    snprintf(list, sizeof list, "%s/%06u/list", journal_folder, part);
    for (int times = 0; times < WRITE_TRIES; times++) {
        int fd = raw_open(list, O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (fd < 0)
            return 0;
        /* a checkpoint may close the descriptor, which DMTCP did not see opened: then once more */
        int has_space = !raw_stat(fd, "", AT_EMPTY_PATH, &found) && found.st_size < MOST_LIST
                        && may_grow_to(found.st_size + size);
        long written = has_space ? RAW(SYS_write, fd, buffers->line, size) : 0;
        raw_close(fd);
        if (written == size)
            return 1;
        if (!has_space)
            return 0;
    }
    return 0;
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
        lose(part, entry->path);
    }
}
