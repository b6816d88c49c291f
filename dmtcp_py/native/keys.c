/* Keys of what a process knows to be recorded in the list of a part; part of the plugin `files`.

   There is no lock: a signal handler, or the child of another thread, could wait for it for ever. A key that gets lost
   is recorded once more, which does no harm: the first entry decides. */

#include <string.h>

#include "files.h"
#include "journal.h"

#define SLOTS 65536
#define MOST_SLOTS 49152

static uint64_t known[SLOTS]; /* hashes of a part and a key in it */
static unsigned known_count;

static uint64_t mixed(uint64_t hash, const void *data, size_t size)
{
    for (const unsigned char *at = data; size--; at++)
        hash = (hash ^ *at) * 1099511628211u;
    return hash;
}

/* Return the key of WHAT is known of the file FOUND; of the NAME in it, if FOUND is a folder. Never 0. */
uint64_t key_of(const struct stat *found, uint64_t what, const char *name)
{
    uint64_t values[3] = { found->st_dev, found->st_ino, what };
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
