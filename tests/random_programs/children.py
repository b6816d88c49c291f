"""Kinds of steps: children that live, wait, are stopped or have ended."""

from __future__ import annotations

from random_programs.kind import Kind, Text

_WAITING = """
    MODEL struct {{ pid_t pid; int fds[2]; unsigned n; }} {name};
    static void begin_{name}(unsigned n)
    {{
        {prepare}
        {name}.n = n % 100;
        {name}.pid = fork();
        if ({name}.pid == 0) {{
            int result = 0;
            {wait}
            _exit(result < 0 ? 255 : (int){name}.n);
        }}
    }}
    static void end_{name}(void)
    {{
        int status = -1;
        {release}
        double until = seconds(CLOCK_MONOTONIC) + PATIENCE_S;
        pid_t ended;
        while ((ended = wait_for({name}.pid, &status, WNOHANG)) == 0 && seconds(CLOCK_MONOTONIC) < until)
            nap(1000);
        same("whether the child comes to its end", ended == {name}.pid, 1);
        if (ended == 0)
            kill_child({name}.pid);
        else
            same("status", WIFEXITED(status) ? WEXITSTATUS(status) : -status, (long){name}.n);
        {clean}
        {name}.pid = 0;
    }}
"""
_CLOSE = "close({name}.fds[0]), close({name}.fds[1]);"


def _waiting(kind: str, name: str, **parts: str) -> Kind:
    """Return a child that is held in a call until a later step lets it go; its status says how the call ended."""
    parts = {"clean": _CLOSE, **parts}
    declare = _WAITING.format(name=name, **{part: words.format(name=name) for part, words in parts.items()})
    check = f'if ({name}.pid) same("whether it lives", kill({name}.pid, 0), 0);'
    steps = f"if ({name}.pid) end_{name}(); else begin_{name}(n);"
    return Kind(kind, Text(declare, steps, check, f"if ({name}.pid) end_{name}();"))


_PIPE = "MUST(pipe2({name}.fds, O_CLOEXEC));"
_RELEASE_PIPE = 'write_all({name}.fds[1], "x", 1);'
_LOCK_FILE = """
    for (int i = 0; i < 2; i++)
        {{name}}.fds[i] = open(in_base("{file}%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    {lock}
"""

KINDS = (
    _waiting(
        "child that waits in read",
        "reading",
        prepare=_PIPE,
        wait="char one; while ((result = (int)read({name}.fds[0], &one, 1)) < 0 && errno == EINTR) {{}}",
        release=_RELEASE_PIPE,
    ),
    _waiting(
        "child that waits in poll",
        "polling",
        prepare=_PIPE,
        wait="""
            struct pollfd one = {{.fd = {name}.fds[0], .events = POLLIN}};
            while ((result = poll(&one, 1, -1)) < 0 && errno == EINTR) {{}}
            """,
        release=_RELEASE_PIPE,
    ),
    _waiting(
        "child that waits in select",
        "selecting",
        prepare=_PIPE,
        wait="""
            fd_set ready;
            do {{ FD_ZERO(&ready); FD_SET({name}.fds[0], &ready); }}
            while ((result = select({name}.fds[0] + 1, &ready, NULL, NULL, NULL)) < 0 && errno == EINTR);
            """,
        release=_RELEASE_PIPE,
    ),
    _waiting(
        "child that waits for a lock of a file",
        "locking",
        prepare=_LOCK_FILE.format(file="waits", lock="MUST(flock({name}.fds[0], LOCK_EX));"),
        wait="""
            close({name}.fds[0]);
            while ((result = flock({name}.fds[1], LOCK_EX)) < 0 && errno == EINTR) {{}}
            flock({name}.fds[1], LOCK_UN);  /* other children may have inherited it */
            """,
        release="MUST(flock({name}.fds[0], LOCK_UN));",
    ),
    _waiting(
        "child that waits for a record lock",
        "recording",
        prepare=_LOCK_FILE.format(
            file="records",
            lock="struct flock lock = {{.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 5}};"
            " MUST(fcntl({name}.fds[0], F_SETLK, &lock));",
        ),
        wait="""
            struct flock lock = {{.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 5}};
            while ((result = fcntl({name}.fds[1], F_SETLKW, &lock)) < 0 && errno == EINTR) {{}}
            """,
        release="struct flock lock = {{.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_len = 5}};"
        " MUST(fcntl({name}.fds[0], F_SETLK, &lock));",
    ),
    _waiting(
        "child that waits for the other end of a FIFO",
        "opening",
        prepare='MUST(mkfifo(in_base("opened%d", me), 0600));',
        wait="""
            int fd;
            while ((fd = open(in_base("opened%d", me), O_RDONLY | O_CLOEXEC)) < 0 && errno == EINTR) {{}}
            char one = 0;
            while ((result = (int)read(fd, &one, 1)) < 0 && errno == EINTR) {{}}
            result = one == 'x' ? 0 : -1;
            """,
        release="""
            {name}.fds[1] = open(in_base("opened%d", me), O_WRONLY | O_CLOEXEC);
            MUST({name}.fds[1]);
            write_all({name}.fds[1], "x", 1);
            """,
        clean='close({name}.fds[1]); unlink(in_base("opened%d", me));',
    ),
    _waiting(
        "child that waits for a semaphore",
        "semaphoring",
        prepare="MUST({name}.fds[0] = semget(IPC_PRIVATE, 1, 0600)); MUST(semctl({name}.fds[0], 0, SETVAL, 0));",
        wait="""
            struct sembuf down = {{.sem_op = -1}};
            while ((result = semop({name}.fds[0], &down, 1)) < 0 && errno == EINTR) {{}}
            """,
        release="struct sembuf up = {{.sem_op = 1}}; MUST(semop({name}.fds[0], &up, 1));",
        clean="semctl({name}.fds[0], 0, IPC_RMID);",
    ),
    _waiting(
        "child that waits for a signal",
        "signalling",
        prepare="",
        wait="""
            sigset_t one;
            sigemptyset(&one), sigaddset(&one, SIGRTMIN + 7);
            while ((result = sigwaitinfo(&one, NULL)) < 0 && errno == EINTR) {{}}
            """,
        release="MUST(kill({name}.pid, SIGRTMIN + 7));",
        clean="",
    ),
    _waiting(
        "child in a session of its own",
        "leading",
        prepare=_PIPE,
        wait="char one; setsid(); while ((result = (int)read({name}.fds[0], &one, 1)) < 0 && errno == EINTR) {{}}"
        " result = getsid(0) == getpid() ? 0 : -1;",
        release=_RELEASE_PIPE,
    ),
    _waiting(
        "child in a group of its own",
        "grouping",
        prepare=_PIPE,
        wait="char one; setpgid(0, 0); while ((result = (int)read({name}.fds[0], &one, 1)) < 0 && errno == EINTR) {{}}"
        " result = getpgrp() == getpid() ? 0 : -1;",
        release=_RELEASE_PIPE,
    ),
    _waiting(
        "child that waits for its own child",
        "parenting",
        prepare=_PIPE,
        wait="""
            int status = -1;
            pid_t pid = fork();
            char one;
            if (pid == 0) {{
                while (read({name}.fds[0], &one, 1) < 0 && errno == EINTR) {{}}
                _exit(7);
            }}
            result = wait_for(pid, &status, 0) == pid && WEXITSTATUS(status) == 7 ? 0 : -1;
            """,
        release=_RELEASE_PIPE,
    ),
    Kind(
        "child not yet waited for",
        c=Text(
            "MODEL struct { pid_t pid; int status; } ended_child;",
            """
            int status = -1;
            if (!ended_child.pid) {
                ended_child.status = n % 2 ? (int)(n / 2 % 200) : -SIGTERM;
                if ((ended_child.pid = fork()) == 0) {
                    if (ended_child.status < 0) {
                        signal(SIGTERM, SIG_DFL);
                        raise(SIGTERM);
                    }
                    _exit(ended_child.status);
                }
                siginfo_t info;
                while (waitid(P_PID, (id_t)ended_child.pid, &info, WEXITED | WNOWAIT) && errno == EINTR) {}
                return;
            }
            same("whether it is waited for", wait_for(ended_child.pid, &status, 0) == ended_child.pid, 1);
            same("status", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), ended_child.status);
            ended_child.pid = 0;
            """,
            """
            siginfo_t info = {0};
            if (ended_child.pid) {
                MUST(waitid(P_PID, (id_t)ended_child.pid, &info, WEXITED | WNOWAIT | WNOHANG));
                same("whether it has ended", info.si_pid == ended_child.pid, 1);
                same("status", info.si_code == CLD_EXITED ? info.si_status : -info.si_status, ended_child.status);
            }
            """,
        ),
        python=Text(
            do="""
                if getattr(m, "child", None):
                    same("status", m.child.wait(), m.status)
                    m.child = None
                else:
                    m.status = n % 200
                    m.child = subprocess.Popen(["sh", "-c", f"exit {m.status}"])
                    os.waitid(os.P_PID, m.child.pid, os.WEXITED | os.WNOWAIT)
                """,
            check="""
                if m.child:
                    info = os.waitid(os.P_PID, m.child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
                    same("status", info and info.si_status, m.status)
                """,
        ),
    ),
    Kind(
        "stopped child",
        c=Text(
            "MODEL pid_t stopped_child;",
            """
            if (!stopped_child) {
                if ((stopped_child = fork()) == 0)
                    for (;;)
                        pause();
                kill(stopped_child, SIGSTOP);
                siginfo_t info;
                while (waitid(P_PID, (id_t)stopped_child, &info, WSTOPPED | WNOWAIT) && errno == EINTR) {}
                return;
            }
            kill(stopped_child, SIGCONT);
            kill_child(stopped_child);
            stopped_child = 0;
            """,
            """
            siginfo_t info = {0};
            if (stopped_child) {
                MUST(waitid(P_PID, (id_t)stopped_child, &info, WSTOPPED | WNOWAIT | WNOHANG));
                same("whether it is stopped", info.si_pid == stopped_child && info.si_code == CLD_STOPPED, 1);
            }
            """,
            "if (stopped_child) kill_child(stopped_child);",
        ),
    ),
    Kind(
        "child of another program",
        c=Text(
            "MODEL struct { pid_t pid; int to, from; } cat;",
            """
            if (cat.pid)
                return;
            int to[2], from[2];
            pipe2(to, O_CLOEXEC), pipe2(from, O_CLOEXEC);
            if ((cat.pid = fork()) == 0) {
                dup2(to[0], 0), dup2(from[1], 1);
                execlp("cat", "cat", NULL);
                _exit(127);
            }
            close(to[0]), close(from[1]);
            cat.to = to[1], cat.from = from[0];
            """,
            """
            char line[6] = "";
            write_all(cat.to, "words", 5);
            if (!read_all(cat.from, line, 5) || strcmp(line, "words"))
                differ("it gives something else back: %s", line);
            """,
            """
            kill_child(cat.pid);  /* other children may have inherited its pipes, so it sees no end of them */
            """,
        ),
        python=Text(
            do="""
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
                m.child = getattr(m, "child", None) or subprocess.Popen(["cat"], **pipes)
                """,
            check="""
                m.child.stdin.write(b"words\\n")
                m.child.stdin.flush()
                same("what it gives back", m.child.stdout.readline(), b"words\\n")
                """,
            end="m.child.kill(); m.child.communicate()",
        ),
    ),
    Kind(
        "short children",
        often=2,
        c=Text(
            "",
            """
            for (unsigned i = 0; i < n % 5; i++) {
                pid_t pid = fork();
                int status = -1;
                if (pid == 0)
                    _exit((int)(n % 100));
                wait_for(pid, &status, 0);
                same("status", status, (long)(n % 100) << 8);
            }
            """,
        ),
        python=Text(
            do="same('status', subprocess.run(['sh', '-c', f'exit {n % 100}'], check=False).returncode, n % 100)"
        ),
    ),
)
