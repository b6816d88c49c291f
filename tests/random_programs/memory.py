"""Kinds of steps: memory, what protects it and what it is for."""

from __future__ import annotations

from random_programs.kind import Kind, Text

_FLAG_OF = """
    static int shows_flag(const void *at, const char *flag)
    {{
        static char text[1 << 20];
        FILE *maps = fopen("/proc/self/smaps", "re");
        unsigned long from, to;
        int is_inside = 0, found = 0;
        while (fgets(text, sizeof text, maps))
            if (sscanf(text, "%lx-%lx ", &from, &to) == 2)
                is_inside = from <= (unsigned long)at && (unsigned long)at < to;
            else if (is_inside && strncmp(text, "VmFlags:", 8) == 0)
                found = strstr(text, flag) != NULL;
        fclose(maps);
        return found;
    }}

    /* what is read while a checkpoint is taken begins with the list before and ends with the one after */
    static int has_flag(const void *at, const char *flag)
    {{
        int now = shows_flag(at, flag);
        for (int again; (again = shows_flag(at, flag)) != now;)
            now = again;
        return now;
    }}
"""

KINDS = (
    Kind(
        "mapped memory",
        often=2,
        c=Text(
            """
            enum { MAPS = 4, PAGES = 6 };
            MODEL struct { char *at; unsigned seeds[PAGES]; int protections[PAGES]; } maps_model[MAPS];
            """,
            """
            unsigned i = n % MAPS, page = n / MAPS % PAGES;
            if (!maps_model[i].at) {
                maps_model[i].at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                for (unsigned p = 0; p < PAGES; p++) {
                    fill(maps_model[i].at + p * PAGE, PAGE, maps_model[i].seeds[p] = n + p);
                    maps_model[i].protections[p] = PROT_READ | PROT_WRITE;
                }
                return;
            }
            char *at = maps_model[i].at + page * PAGE;
            switch (n / 64 % 4) {
            case 0:
                if (maps_model[i].protections[page] < 0)
                    break;
                mprotect(at, PAGE, PROT_READ | PROT_WRITE);
                fill(at, PAGE, maps_model[i].seeds[page] = n);
                maps_model[i].protections[page] = PROT_READ | PROT_WRITE;
                break;
            case 1:
                if (maps_model[i].protections[page] >= 0)
                    MUST(mprotect(at, PAGE, maps_model[i].protections[page] =
                                  (int)PICK(n, PROT_NONE, PROT_READ, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE)));
                break;
            case 2:
                MUST(munmap(at, PAGE));
                maps_model[i].protections[page] = -1;
                break;
            default:
                if (maps_model[i].protections[page] >= 0 || mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
                    MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != at)
                    break;
                fill(at, PAGE, maps_model[i].seeds[page] = n);
                maps_model[i].protections[page] = PROT_READ | PROT_WRITE;
            }
            """,
            """
            static int probe[2];
            static char wanted[PAGE];
            pipe2(probe, O_CLOEXEC | O_NONBLOCK);
            for (int i = 0; i < MAPS; i++)
                for (int page = 0; page < PAGES && maps_model[i].at; page++) {
                    int protection = maps_model[i].protections[page];
                    char *at = maps_model[i].at + page * PAGE, one;
                    int can_read = write(probe[1], at, 1) == 1;
                    if (protection >= 0)
                        same("whether it can be read", can_read, (protection & PROT_READ) != 0);
                    if (can_read && protection > 0) {
                        fill(wanted, PAGE, maps_model[i].seeds[page]);
                        same_bytes("content", at, wanted, PAGE);
                    }
                    if (can_read && read(probe[0], &one, 1) != 1)
                        differ("a byte is lost in a pipe");
                    if (protection > 0 && can_read) {
                        write(probe[1], &wanted[0], 1);
                        int can_write = read(probe[0], at, 1) == 1;
                        same("whether it can be written", can_write, (protection & PROT_WRITE) != 0);
                        if (!can_write)
                            read(probe[0], &one, 1);
                    }
                }
            close(probe[0]), close(probe[1]);
            """,
        ),
        python=Text(
            do="""
                m.maps = getattr(m, "maps", {})
                if n % 4 not in m.maps:
                    m.maps[n % 4] = (mmap.mmap(-1, 40000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), {})
                memory, model = m.maps[n % 4]
                at = n // 4 % 19 * 2000
                model[at] = memory[at : at + 2000] = data_of(n, 2000)
                """,
            check="""
                for memory, model in m.maps.values():
                    for at, data in model.items():
                        same("content", memory[at : at + 2000], data)
                """,
        ),
    ),
    Kind("flags of memory", Text(_FLAG_OF.format()), often=0),
    Kind(
        "madvise",
        needs="flags of memory",
        c=Text(
            """
            static const struct { int on, off; const char *flag; } advices[] = {
                {MADV_DONTFORK, MADV_DOFORK, " dc"}, {MADV_DONTDUMP, MADV_DODUMP, " dd"},
                {MADV_WIPEONFORK, MADV_KEEPONFORK, " wf"}, {MADV_SEQUENTIAL, MADV_NORMAL, " sr"},
                {MADV_HUGEPAGE, MADV_NOHUGEPAGE, " hg"}, {MADV_MERGEABLE, MADV_UNMERGEABLE, " mg"}};
            MODEL struct { char *at; int is_on; unsigned seed; } advised[COUNT(advices)];
            """,
            """
            unsigned i = n % COUNT(advices);
            if (!advised[i].at) {
                advised[i].at = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                fill(advised[i].at, PAGE, advised[i].seed = n);
            }
            int is_on = (int)(n / 8 % 2);
            if (madvise(advised[i].at, 4 * PAGE, is_on ? advices[i].on : advices[i].off) == 0)
                advised[i].is_on = has_flag(advised[i].at, advices[i].flag);
            """,
            """
            for (unsigned i = 0; i < COUNT(advices); i++)
                if (advised[i].at) {
                    char wanted[PAGE];
                    fill(wanted, PAGE, advised[i].seed);
                    same_bytes("content", advised[i].at, wanted, PAGE);
                    if (has_flag(advised[i].at, advices[i].flag) != advised[i].is_on)
                        differ("flag%s is %s", advices[i].flag, advised[i].is_on ? "lost" : "there");
                }
            """,
        ),
    ),
    Kind(
        "memory left out at a fork, in a child",
        c=Text(
            "MODEL char *not_inherited;",
            """
            if (!not_inherited)
                not_inherited = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            fill(not_inherited, PAGE, n);
            MUST(madvise(not_inherited, PAGE, MADV_DONTFORK));
            """,
            """
            pid_t pid = fork();
            if (pid == 0) {
                int probe[2];
                pipe(probe);
                _exit(write(probe[1], not_inherited, 1) == 1);
            }
            int status = -1;
            wait_for(pid, &status, 0);
            same("whether a child has it", status, 0);
            """,
        ),
    ),
    Kind(
        "mlock",
        needs="flags of memory",
        harmless="locked memory is not swapped out, which affects how soon a program computes, not what",
        c=Text(
            "MODEL char *locked_memory; MODEL int is_memory_locked;",
            """
            if (!locked_memory) {
                locked_memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            }
            if (n % 3)
                mlock(locked_memory, 4 * PAGE);
            else
                munlock(locked_memory, 4 * PAGE);
            is_memory_locked = has_flag(locked_memory, " lo");
            """,
            'same("whether it is locked", has_flag(locked_memory, " lo"), is_memory_locked);',
        ),
    ),
    Kind(
        "guard region",
        c=Text(
            "MODEL char *guarded; MODEL int has_guard;",
            """
            if (!guarded) {
                guarded = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                memset(guarded, 1, 4 * PAGE);
            }
            int is_on = (int)(n % 2);
            if (madvise(guarded + PAGE, PAGE, is_on ? 102 : 103) == 0)
                has_guard = is_on;
            """,
            """
            int probe[2];
            pipe2(probe, O_CLOEXEC);
            same("whether it can be read", write(probe[1], guarded + PAGE, 1) == 1, !has_guard);
            same("whether its neighbour can", write(probe[1], guarded + 2 * PAGE, 1) == 1, 1);
            close(probe[0]), close(probe[1]);
            """,
        ),
    ),
    Kind(
        "moved memory",
        c=Text(
            "MODEL char *moved; MODEL size_t moved_size; MODEL unsigned moved_seed; MODEL size_t seeded_size;",
            """
            size_t size = (1 + n % 30) * PAGE;
            if (!moved)
                moved = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            else
                moved = mremap(moved, moved_size, size, MREMAP_MAYMOVE);
            moved_size = seeded_size = size;
            fill(moved, size, moved_seed = n);
            """,
            """
            static char wanted[31 * PAGE];
            fill(wanted, seeded_size, moved_seed);
            same_bytes("content", moved, wanted, seeded_size);
            """,
        ),
    ),
    Kind(
        "heap",
        often=2,
        c=Text(
            "MODEL struct { unsigned char *at; size_t size; unsigned seed; } heap_model[32];",
            """
            unsigned i = n % 32;
            heap_model[i].size = n / 32 % 4 == 0 ? 200000 + n % 100000 : 1 + n / 128 % 5000;
            heap_model[i].at = realloc(heap_model[i].at, heap_model[i].size);
            fill(heap_model[i].at, heap_model[i].size, heap_model[i].seed = n);
            """,
            """
            static unsigned char wanted[300000];
            for (int i = 0; i < 32; i++)
                if (heap_model[i].at) {
                    fill(wanted, heap_model[i].size, heap_model[i].seed);
                    same_bytes("content", heap_model[i].at, wanted, heap_model[i].size);
                }
            """,
        ),
        python=Text(
            do='vars(m).setdefault("objects", {})[n % 20] = (n, data_of(n, n // 20 % 100000))',
            check="""
                for n, data in m.objects.values():
                    same("content", data, data_of(n, n // 20 % 100000))
                """,
        ),
    ),
    Kind(
        "sbrk",
        c=Text(
            "MODEL char *broken; MODEL unsigned broken_seed;",
            """
            broken = sbrk(PAGE << (n % 8));
            if (broken == (char *)-1)
                differ("sbrk fails");
            else
                fill(broken, PAGE, broken_seed = n);
            """,
            'char wanted[PAGE]; fill(wanted, PAGE, broken_seed); same_bytes("content", broken, wanted, PAGE);',
        ),
    ),
    Kind(
        "reserved memory",
        c=Text(
            "MODEL char *reserved; MODEL unsigned reserved_seed; MODEL size_t reserved_place;",
            """
            if (!reserved)
                reserved = mmap(NULL, 256L << 30, n % 2 ? PROT_NONE : PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            reserved_place = n / 2 % (1 << 20) * 8 * PAGE;
            MUST(mprotect(reserved + reserved_place, PAGE, PROT_READ | PROT_WRITE));
            fill(reserved + reserved_place, PAGE, reserved_seed = n);
            """,
            """
            char wanted[PAGE];
            fill(wanted, PAGE, reserved_seed);
            same_bytes("content", reserved + reserved_place, wanted, PAGE);
            """,
        ),
    ),
    Kind(
        "private mapping of a file",
        c=Text(
            "MODEL char *mapped_file, mapped_model[3 * PAGE]; MODEL int is_mapped_file_gone;",
            """
            if (!mapped_file) {
                int fd = open(in_base("private%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                fill(mapped_model, sizeof mapped_model, n);
                write_all(fd, mapped_model, sizeof mapped_model);
                mapped_file = mmap(NULL, sizeof mapped_model, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
                close(fd);
                return;
            }
            if (n % 7 == 0 && !is_mapped_file_gone) {
                MUST(unlink(in_base("private%d", me)));
                is_mapped_file_gone = 1;
            }
            size_t at = n % (sizeof mapped_model - 100);
            fill(mapped_file + at, 100, n);
            fill(mapped_model + at, 100, n);
            """,
            'same_bytes("content", mapped_file, mapped_model, sizeof mapped_model);',
        ),
    ),
)
