"""Kinds of steps: where a process is, whose it is, and its clocks."""

from __future__ import annotations

from random_programs.kind import Kind, Of, Text

KINDS = (
    Kind(
        "working directory",
        c=Text(
            "MODEL char cwd_model[PATH_MAX];",
            """
            const char *path = in_base("dir%d", (int)(n % 5) + 10 * me);
            mkdir(path, 0755);
            MUST(chdir(path));
            strcpy(cwd_model, path);
            """,
            """
            char now[PATH_MAX] = "";
            if (!getcwd(now, sizeof now) || strcmp(now, cwd_model))
                differ("it is %s", strncmp(now, base, strlen(base)) ? "elsewhere" : now + strlen(base));
            """,
        ),
        python=Text(
            do="""
                m.cwd = in_base(f"dir{n % 5 + 10 * me()}")
                os.makedirs(m.cwd, exist_ok=True)
                os.chdir(m.cwd)
                """,
            check='same("directory", os.getcwd() == m.cwd, True)',
        ),
    ),
    Kind(
        "environment",
        c=Text(
            "MODEL char variable_model[32];",
            """
            snprintf(variable_model, sizeof variable_model, "value %u", n);
            setenv("RANDOM_PROGRAM", variable_model, 1);
            """,
            'if (strcmp(getenv("RANDOM_PROGRAM"), variable_model)) differ("it is %s", getenv("RANDOM_PROGRAM"));',
        ),
        python=Text(
            do='m.value = str(n); os.environ["RANDOM_PROGRAM"] = m.value',
            check="same('variable', subprocess.run(['sh', '-c', 'echo $RANDOM_PROGRAM'], capture_output=True, "
            "check=True, text=True).stdout.strip(), m.value)",
        ),
    ),
    Kind(
        "numbers of processes",
        of=Of.THREAD,
        c=Text(
            "OWN pid_t pid_models[5];",
            """
            pid_t now[] = {getpid(), gettid(), getppid(), getpgrp(), getsid(0)};
            memcpy(pid_models, now, sizeof now);
            """,
            """
            same("pid, less the one before", getpid() - pid_models[0], 0);
            same("tid, less the one before", gettid() - pid_models[1], 0);
            if (me == 1 || me == 2)
                same("pid of the parent, less the one before", getppid() - pid_models[2], 0);
            same("tid of the first thread in /proc/self", access("/proc/self/task", F_OK), 0);
            """,
        ),
        python=Text(do="m.pid = os.getpid()", check='same("pid is as it was", os.getpid() == m.pid, True)'),
    ),
    Kind(
        "session and group",
        c=Text(
            "MODEL pid_t session_model, group_model;",
            """
            if (me && n % 2)
                setsid();
            else if (me)
                setpgid(0, 0);
            session_model = getsid(0);
            group_model = getpgrp();
            """,
            """
            same("session, less the one before", getsid(0) - session_model, 0);
            same("group, less the one before", getpgrp() - group_model, 0);
            """,
        ),
    ),
    Kind(
        "/proc/self/stat",
        c=Text(
            "",
            "",
            """
            char text[2000];
            text_of("/proc/self/stat", text, sizeof text);
            same("pid in /proc/self/stat, less getpid()", atoi(text) - getpid(), 0);
            """,
        ),
    ),
    Kind(
        "CPU clock",
        c=Text(
            "MODEL double cpu_model;",
            "double until = seconds(CLOCK_PROCESS_CPUTIME_ID) + 0.02; while (seconds(CLOCK_PROCESS_CPUTIME_ID) < until)"
            " {} cpu_model = until;",
            'same("CPU clock went back", seconds(CLOCK_PROCESS_CPUTIME_ID) < cpu_model, 0);',
        ),
    ),
    Kind(
        "monotonic clock",
        c=Text(
            "MODEL double clock_models[2];",
            "clock_models[0] = seconds(CLOCK_MONOTONIC); clock_models[1] = seconds(CLOCK_BOOTTIME);",
            """
            same("CLOCK_MONOTONIC went back", seconds(CLOCK_MONOTONIC) < clock_models[0], 0);
            same("CLOCK_BOOTTIME went back", seconds(CLOCK_BOOTTIME) < clock_models[1], 0);
            """,
        ),
    ),
)
