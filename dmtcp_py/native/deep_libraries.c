/* Libraries that dlopen() binds before all others (RTLD_DEEPBIND): their calls go to the C library, past ours; part of
   the plugin `files`.

   After such a dlopen() the library, and what came with it, gets our functions where it would call the C library's. */

#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "files.h"

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__)
#define IS_CALL(type) ((type) == R_X86_64_JUMP_SLOT || (type) == R_X86_64_GLOB_DAT)
#else
#define IS_CALL(type) ((type) == R_AARCH64_JUMP_SLOT || (type) == R_AARCH64_GLOB_DAT)
#endif

typedef void *open_function(const char *, int);

static open_function *next;
static void *c_library;

/* What relocates one loaded library. */
struct tables {
    const ElfW(Sym) *symbols;
    const char *names;
    const ElfW(Rela) *lists[2];
    size_t sizes[2];
};

static struct tables tables_of(const struct link_map *library)
{
    struct tables found = { 0 };
    for (const ElfW(Dyn) *at = library->l_ld; at->d_tag != DT_NULL; at++) {
        if (at->d_tag == DT_SYMTAB)
            found.symbols = (const ElfW(Sym) *)at->d_un.d_ptr;
        else if (at->d_tag == DT_STRTAB)
            found.names = (const char *)at->d_un.d_ptr;
        else if (at->d_tag == DT_JMPREL)
            found.lists[0] = (const ElfW(Rela) *)at->d_un.d_ptr;
        else if (at->d_tag == DT_PLTRELSZ)
            found.sizes[0] = at->d_un.d_val;
        else if (at->d_tag == DT_RELA)
            found.lists[1] = (const ElfW(Rela) *)at->d_un.d_ptr;
        else if (at->d_tag == DT_RELASZ)
            found.sizes[1] = at->d_un.d_val;
    }
    return found;
}

/* Return our function of this NAME if LIBRARY would call the C library's; NULL otherwise. */
static void *replacement(void *library, const char *name)
{
    void *mine = wrapper_of(name);
    return mine && dlsym(library, name) == dlsym(c_library, name) ? mine : NULL;
}

/* Let the SLOT of a table, which the loader may have made read-only, lead to FUNCTION. */
static void put(void **slot, void *function)
{
    uintptr_t page = getauxval(AT_PAGESZ), start = (uintptr_t)slot & ~(page - 1);
    if (*slot != function && !RAW(SYS_mprotect, start, page, PROT_READ | PROT_WRITE))
        *slot = function;
}

static void replace_calls(const struct link_map *map)
{
    struct tables tables = tables_of(map);
    void *library = next(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
    for (int i = 0; library && i < 2; i++)
        for (const ElfW(Rela) *at = tables.lists[i]; at && at < tables.lists[i] + tables.sizes[i] / sizeof *at; at++) {
            const char *name = tables.names + tables.symbols[ELF64_R_SYM(at->r_info)].st_name;
            void *function = IS_CALL(ELF64_R_TYPE(at->r_info)) ? replacement(library, name) : NULL;
            if (function)
                put((void **)(map->l_addr + at->r_offset), function);
        }
    if (library)
        dlclose(library);
}

__attribute__((constructor)) static void find_next(void)
{
    if (!next)
        next = (open_function *)below("dlopen");
}

/* In the last line this function is left before the next one begins, as that looks at who calls it to find libraries;
   the same for one that was not found, which may be in a folder that only the caller knows. */
void *dlopen(const char *file, int flags)
{
    struct link_map *map;
    find_next();
    void *handle = file && flags & RTLD_DEEPBIND ? next(file, flags) : NULL;
    if (handle && !c_library)
        c_library = next("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (handle && c_library && !dlinfo(handle, RTLD_DI_LINKMAP, &map))
        for (; map; map = map->l_next)
            replace_calls(map);
    return handle ? handle : next(file, flags);
}

#endif
