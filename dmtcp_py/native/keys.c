/* Keys of what a process knows to be recorded in the list of a part, and checks of its lines; part of `files`.

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

/* Return the CRC-32 of DATA, after what has the check BEFORE, as zlib.crc32() does. */
uint32_t check_of(const char *data, size_t size, uint32_t before)
{
    static const uint32_t of_half_bytes[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t check = ~before;
    for (const char *at = data; at < data + size; at++) {
        check ^= (unsigned char)*at;
        check = of_half_bytes[check & 15] ^ check >> 4;
        check = of_half_bytes[check & 15] ^ check >> 4;
    }
    return ~check;
}
