"""Kinds of steps: what a process or a thread is to the scheduler, and what it may."""

from __future__ import annotations

from random_programs.kind import Kind, Of, Text

KINDS = (
    Kind(
        "umask",
        c=Text(
            "MODEL mode_t umask_model;",
            "umask(umask_model = n % 0777 & ~0700u);",
            'mode_t now = umask(umask_model); same("umask", now, umask_model);',
        ),
        python=Text(
            do="m.mask = n % 0o777 & ~0o700; os.umask(m.mask)",
            check='same("umask", os.umask(m.mask), m.mask)',
        ),
    ),
    Kind(
        "rlimit",
        c=Text(
            """
            static const int limits[] = {RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_SIGPENDING, RLIMIT_RTPRIO,
                                         RLIMIT_STACK, RLIMIT_CPU};
            MODEL struct { int is_set; struct rlimit limit; } limit_models[COUNT(limits)];
            """,
            """
            unsigned i = n % COUNT(limits);
            struct rlimit now;
            getrlimit(limits[i], &now);
            rlim_t wanted = limits[i] == RLIMIT_NOFILE ? 1000 + n / 16 % 24
                : limits[i] == RLIMIT_FSIZE ? (rlim_t)(4 + n / 16 % 9) << 30
                : limits[i] == RLIMIT_STACK ? (rlim_t)(6 + n / 16 % 9) << 20
                : limits[i] == RLIMIT_CPU ? 100000 + n / 16 % 1000
                : limits[i] == RLIMIT_SIGPENDING ? 1000 + n / 16 % 40  /* all processes of the user count */
                : 5 + n / 16 % 40;
            now.rlim_cur = wanted < now.rlim_max ? wanted : now.rlim_max;
            if (setrlimit(limits[i], &now) == 0) {
                limit_models[i].is_set = 1;
                limit_models[i].limit = now;
            }
            """,
            """
            for (unsigned i = 0; i < COUNT(limits); i++) {
                struct rlimit now;
                getrlimit(limits[i], &now);
                if (limit_models[i].is_set) {
                    char name[40];
                    snprintf(name, sizeof name, "soft limit %d", limits[i]);
                    same(name, (long)now.rlim_cur, (long)limit_models[i].limit.rlim_cur);
                    same("hard limit", (long)now.rlim_max, (long)limit_models[i].limit.rlim_max);
                }
            }
            """,
        ),
        python=Text(
            do="""
                which = [resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU][n % 3]
                hard = resource.getrlimit(which)[1]
                wanted = 1000 + n // 8 % 24 if which == resource.RLIMIT_NOFILE else 100000 + n // 8 % 9
                wanted = wanted if hard < 0 else min(wanted, hard)
                resource.setrlimit(which, (wanted, hard))
                vars(m).setdefault("limits", {})[which] = (wanted, hard)
                """,
            check="""
                for which, wanted in m.limits.items():
                    same(f"limit {which}", resource.getrlimit(which), wanted)
                """,
        ),
    ),
    Kind(
        "nice",
        of=Of.THREAD,
        c=Text(
            "OWN int nice_model;",
            """
            int now = getpriority(PRIO_PROCESS, 0);
            if (setpriority(PRIO_PROCESS, 0, now + (int)(n % 3)) == 0)
                now += (int)(n % 3);
            nice_model = now < 19 ? now : 19;
            """,
            'same("nice", getpriority(PRIO_PROCESS, 0), nice_model);',
        ),
        python=Text(do="m.nice = os.nice(n % 3)", check='same("nice", os.nice(0), m.nice)'),
    ),
    Kind(
        "affinity",
        of=Of.THREAD,
        c=Text(
            "OWN cpu_set_t cpus_model;",
            """
            cpu_set_t wanted;
            CPU_ZERO(&wanted);
            CPU_SET(n % (unsigned)sysconf(_SC_NPROCESSORS_CONF), &wanted);
            sched_setaffinity(0, sizeof wanted, &wanted);
            sched_getaffinity(0, sizeof cpus_model, &cpus_model);
            """,
            """
            cpu_set_t now;
            CPU_ZERO(&now);
            MUST(sched_getaffinity(0, sizeof now, &now));
            for (int cpu = 0; cpu < 64; cpu++)
                if (CPU_ISSET(cpu, &now) != CPU_ISSET(cpu, &cpus_model))
                    differ("it %s", CPU_ISSET(cpu, &now) ? "may run on another CPU" : "may run on one CPU less");
            """,
        ),
        python=Text(
            do="""
                every = sorted(os.sched_getaffinity(0))
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(0, {n % os.cpu_count()})
                m.cpus = os.sched_getaffinity(0)
                """,
            check='same("affinity", len(os.sched_getaffinity(0) ^ m.cpus), 0)',
        ),
    ),
    Kind(
        "scheduler",
        of=Of.THREAD,
        c=Text(
            "OWN int scheduler_model;",
            """
            struct sched_param none = {0};
            sched_setscheduler(0, (int)PICK(n, SCHED_OTHER, SCHED_BATCH, SCHED_OTHER | SCHED_RESET_ON_FORK,
                                            SCHED_BATCH | SCHED_RESET_ON_FORK), &none);
            scheduler_model = sched_getscheduler(0);
            """,
            'same("policy", sched_getscheduler(0), scheduler_model);',
        ),
    ),
    Kind(
        "io priority",
        of=Of.THREAD,
        c=Text(
            "OWN long io_priority_model;",
            "syscall(SYS_ioprio_set, 1, 0, 2 << 13 | n % 8); io_priority_model = syscall(SYS_ioprio_get, 1, 0);",
            'same("I/O priority", syscall(SYS_ioprio_get, 1, 0), io_priority_model);',
        ),
    ),
    Kind(
        "thread name",
        of=Of.THREAD,
        c=Text(
            "OWN char name_model[16];",
            'snprintf(name_model, sizeof name_model, "name %u", n % 1000); MUST(prctl(PR_SET_NAME, name_model));',
            'char now[16] = ""; prctl(PR_GET_NAME, now); if (strcmp(now, name_model)) differ("name is %s", now);',
        ),
    ),
    Kind(
        "timer slack",
        of=Of.THREAD,
        harmless="it affects how soon a thread that sleeps wakes up",
        c=Text(
            "OWN long slack_model;",
            "prctl(PR_SET_TIMERSLACK, slack_model = 60000 + n % 1000);",
            'same("slack", prctl(PR_GET_TIMERSLACK), slack_model);',
        ),
    ),
    Kind(
        "prctl of a process",
        c=Text(
            "MODEL struct { int is_set; long value; } prctl_models[5];",
            """
            static const int sets[] = {PR_SET_DUMPABLE, PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_THP_DISABLE,
                                       PR_SET_KEEPCAPS};
            unsigned i = n % 5;
            prctl_models[i].value = i == 1 ? (long)(n / 5 % 2 * SIGHUP) : n / 5 % 2;
            prctl_models[i].is_set = prctl(sets[i], prctl_models[i].value, 0, 0, 0) == 0;
            """,
            """
            int pdeath = -1, reaper = -1;
            prctl(PR_GET_PDEATHSIG, &pdeath);
            prctl(PR_GET_CHILD_SUBREAPER, &reaper);
            const long now[] = {prctl(PR_GET_DUMPABLE), pdeath, reaper, prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0),
                                prctl(PR_GET_KEEPCAPS)};
            static const char *const names[] = {"dumpable", "signal at the parent's death", "subreaper",
                                                "no huge pages", "keeps capabilities"};
            for (int i = 0; i < 5; i++)
                if (prctl_models[i].is_set)
                    same(names[i], now[i], prctl_models[i].value);
            """,
        ),
    ),
    Kind(
        "no new privileges",
        of=Of.THREAD,
        c=Text(
            "",
            "MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));",
            'same("no new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);',
        ),
    ),
    Kind(
        "personality",
        harmless="it affects programs that the process starts later, and where their memory lies",
        c=Text(
            "MODEL int personality_model;",
            "personality_model = (int)PICK(n, 0, ADDR_NO_RANDOMIZE, ADDR_COMPAT_LAYOUT); personality((unsigned)"
            "personality_model);",
            'same("personality", personality(0xffffffff), personality_model);',
        ),
    ),
    Kind(
        "oom score",
        harmless="it affects which process the kernel ends where memory runs out",
        c=Text(
            "MODEL int oom_model;",
            """
            int fd = open("/proc/self/oom_score_adj", O_WRONLY);
            oom_model = (int)(n % 900);
            dprintf(fd, "%d\\n", oom_model);
            close(fd);
            """,
            """
            char text[64];
            text_of("/proc/self/oom_score_adj", text, sizeof text);
            same("oom_score_adj", atoi(text), oom_model);
            """,
        ),
    ),
    Kind(
        "groups",
        c=Text(
            "MODEL int group_count; MODEL gid_t group_models[20];",
            """
            gid_t wanted[3] = {2000 + n % 50, 3000 + n % 70, 4000 + n % 90};
            setgroups(n % 4, wanted);
            group_count = getgroups(20, group_models);
            """,
            """
            gid_t now[20];
            same("number of groups", getgroups(20, now), group_count);
            same_bytes("groups", now, group_models, (size_t)group_count * sizeof *now);
            """,
        ),
    ),
)
