"""Kinds of steps: what else a process and its threads may set of themselves."""

from __future__ import annotations

from random_programs.kind import Kind, Of, Text

KINDS = (
    Kind(
        "real-time and idle scheduling",
        of=Of.THREAD,
        harmless="it affects how soon a program computes, not what",
        often=0,
        c=Text(
            "OWN int policy_model; OWN struct sched_param policy_priority;",
            """
            struct sched_param wanted = {.sched_priority = n % 3 ? 1 + (int)(n / 3 % 5) : 0};
            sched_setscheduler(0, (int)PICK(n, SCHED_IDLE, SCHED_RR, SCHED_FIFO), &wanted);
            policy_model = sched_getscheduler(0);
            sched_getparam(0, &policy_priority);
            """,
            """
            struct sched_param now = {0};
            same("policy", sched_getscheduler(0), policy_model);
            sched_getparam(0, &now);
            same("priority", now.sched_priority, policy_priority.sched_priority);
            """,
        ),
    ),
    Kind(
        "capabilities",
        of=Of.THREAD,
        often=0,
        c=Text(
            """
            OWN char capabilities_model[400];
            static void read_capabilities(char *found)
            {
                char text[4000];
                text_of("/proc/thread-self/status", text, sizeof text);
                const char *from = strstr(text, "CapInh:"), *to = strstr(text, "NoNewPrivs:");
                snprintf(found, 400, "%.*s", (int)(to - from), from);
            }
            """,
            """
            static const int dropped[] = {13, 16, 22, 25, 26};  /* none that a checkpoint needs */
            prctl(PR_CAPBSET_DROP, dropped[n % COUNT(dropped)], 0, 0, 0);
            read_capabilities(capabilities_model);
            """,
            """
            char now[400];
            read_capabilities(now);
            if (strcmp(now, capabilities_model))
                differ("they are %.120s", now);
            """,
        ),
    ),
    Kind(
        "saved user and group",
        of=Of.THREAD,
        often=0,
        c=Text(
            "OWN uid_t users_model[3]; OWN gid_t groups_model[3];",
            """
            syscall(SYS_setresgid, -1, -1, 1000 + n % 100);
            syscall(SYS_setresuid, -1, -1, 1000 + n % 200);
            syscall(SYS_getresuid, &users_model[0], &users_model[1], &users_model[2]);
            syscall(SYS_getresgid, &groups_model[0], &groups_model[1], &groups_model[2]);
            """,
            """
            uid_t users[3];
            gid_t groups[3];
            syscall(SYS_getresuid, &users[0], &users[1], &users[2]);
            syscall(SYS_getresgid, &groups[0], &groups[1], &groups[2]);
            same_bytes("users", users, users_model, sizeof users);
            same_bytes("groups", groups, groups_model, sizeof groups);
            """,
        ),
    ),
    Kind(
        "core dump filter",
        often=0,
        c=Text(
            "MODEL long filter_model;",
            """
            int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
            dprintf(fd, "%u", n % 128);
            close(fd);
            filter_model = n % 128;
            """,
            """
            char text[40];
            text_of("/proc/self/coredump_filter", text, sizeof text);
            same("filter", strtol(text, NULL, 16), filter_model);
            """,
        ),
    ),
    Kind(
        "machine checks and I/O flushing",
        of=Of.THREAD,
        harmless="it decides which signal announces broken memory, and how the kernel finds memory for a device",
        often=0,
        c=Text(
            "OWN long machine_model, flusher_model;",
            """
            long policy = PICK(n, PR_MCE_KILL_EARLY, PR_MCE_KILL_LATE, PR_MCE_KILL_DEFAULT);
            prctl(PR_MCE_KILL, PR_MCE_KILL_SET, policy, 0, 0);
            prctl(57 /* PR_SET_IO_FLUSHER */, n / 3 % 2, 0, 0, 0);
            machine_model = prctl(PR_MCE_KILL_GET, 0, 0, 0, 0);
            flusher_model = prctl(58 /* PR_GET_IO_FLUSHER */, 0, 0, 0, 0);
            """,
            """
            same("policy for broken memory", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), machine_model);
            same("whether it flushes", prctl(58, 0, 0, 0, 0), flusher_model);
            """,
        ),
    ),
    Kind(
        "merging of equal memory",
        harmless="it affects how much memory a program takes, not what is in it",
        often=0,
        c=Text(
            "MODEL long merge_model;",
            "prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0); merge_model = prctl(68, 0, 0, 0, 0);",
            'same("whether it is merged", prctl(68 /* PR_GET_MEMORY_MERGE */, 0, 0, 0, 0), merge_model);',
        ),
    ),
    Kind(
        "name of memory",
        often=0,
        c=Text(
            """
            MODEL char *named; MODEL char name_of_memory[80];
            static void read_name_of(const char *memory, char *name)
            {
                char line[400], *end;
                FILE *maps = fopen("/proc/self/maps", "re");
                for (*name = 0; maps && fgets(line, sizeof line, maps);)
                    if (strtoul(line, &end, 16) == (unsigned long)memory)
                        snprintf(name, 80, "%s", strchr(line, '[') ? strchr(line, '[') : "none");
                fclose(maps);
            }
            """,
            """
            if (!named)
                named = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            char name[20];
            snprintf(name, sizeof name, "part %u", n % 100);
            prctl(0x53564d41 /* PR_SET_VMA */, 0 /* PR_SET_VMA_ANON_NAME */, named, 4 * PAGE, name);
            read_name_of(named, name_of_memory);
            """,
            'char now[80]; read_name_of(named, now); if (strcmp(now, name_of_memory)) differ("it is %s", now);',
        ),
    ),
    Kind(
        "barriers of all threads",
        often=0,
        c=Text(
            "MODEL int barrier_model;",
            "barrier_model = syscall(SYS_membarrier, 16 /* REGISTER_PRIVATE_EXPEDITED */, 0, 0) == 0;",
            'if (barrier_model) same("whether it is registered", syscall(SYS_membarrier, 8, 0, 0), 0);',
        ),
    ),
    Kind(
        "title of the process",
        often=0,
        c=Text(
            "extern char *program_invocation_name; MODEL char title_model[12];",
            """
            snprintf(title_model, sizeof title_model, "/title %u", n % 100);
            memcpy(program_invocation_name, title_model, strlen(title_model));
            """,
            """
            char now[200];
            text_of("/proc/self/cmdline", now, sizeof now);
            if (strncmp(now, title_model, strlen(title_model)))
                differ("it is %.20s", now);
            """,
        ),
    ),
    Kind(
        "executable in /proc",
        often=0,
        c=Text(
            "MODEL char executable_model[PATH_MAX];",
            'MUST(readlink("/proc/self/exe", executable_model, PATH_MAX - 1));',
            """
            char now[PATH_MAX] = "";
            readlink("/proc/self/exe", now, PATH_MAX - 1);
            if (strcmp(now, executable_model))
                differ("it is %.200s", now);
            """,
        ),
    ),
    Kind(
        "working directory that was removed",
        often=0,
        c=Text(
            "MODEL int is_in_removed;",
            """
            MUST(mkdir(in_base("gone%d", me), 0755));
            MUST(chdir(in_base("gone%d", me)));
            MUST(rmdir(in_base("gone%d", me)));
            is_in_removed = 1;
            """,
            'same("whether it has a name", getcwd((char[PATH_MAX]){0}, PATH_MAX) != NULL, 0);',
            "if (is_in_removed) chdir(base);",
        ),
    ),
    Kind(
        "filter of system calls",
        often=0,
        c=Text(
            """
            #include <linux/filter.h>
            #include <linux/seccomp.h>
            """,
            """
            struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
            struct sock_fprog program = {1, &allow};
            MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
            MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
            """,
            'same("mode", prctl(PR_GET_SECCOMP, 0, 0, 0, 0), 2);',
        ),
    ),
)
