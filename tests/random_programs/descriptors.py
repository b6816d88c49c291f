"""Kinds of steps: descriptors that are neither files nor ways for data."""

from __future__ import annotations

from random_programs.kind import Kind, Text

KINDS = (
    Kind(
        "eventfd",
        c=Text(
            "MODEL struct { int fd, is_semaphore; uint64_t count; } eventfds[2];",
            """
            unsigned i = n % 2;
            if (!eventfds[i].fd) {
                eventfds[i].is_semaphore = (int)i;
                eventfds[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | (i ? EFD_SEMAPHORE : 0));
            }
            uint64_t more = n / 2 % 50;
            eventfds[i].count += more;
            write(eventfds[i].fd, &more, sizeof more);
            """,
            """
            for (int i = 0; i < 2; i++)
                if (eventfds[i].fd) {
                    uint64_t found = 0, again;
                    read(eventfds[i].fd, &found, sizeof found);
                    uint64_t wanted = eventfds[i].is_semaphore ? eventfds[i].count > 0 : eventfds[i].count;
                    same("what it gives", (long)found, (long)wanted);
                    again = found;
                    if (again)
                        write(eventfds[i].fd, &again, sizeof again);
                }
            """,
        ),
        python=Text(
            do="""
                if hasattr(os, "eventfd"):
                    m.fd = getattr(m, "fd", None) or os.eventfd(0, os.EFD_NONBLOCK)
                    m.count = getattr(m, "count", 0) + n % 50 + 1
                    os.eventfd_write(m.fd, n % 50 + 1)
                """,
            check="""
                if hasattr(m, "fd"):
                    same("count", os.eventfd_read(m.fd), m.count)
                    os.eventfd_write(m.fd, m.count)
                """,
        ),
    ),
    Kind(
        "epoll",
        c=Text(
            "MODEL struct { int is_there, set, watched[4], is_ready[4]; } polled;",
            """
            if (!polled.is_there) {
                polled.is_there = 1;
                polled.set = epoll_create1(EPOLL_CLOEXEC);
                for (unsigned i = 0; i < 4; i++) {
                    polled.watched[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1000 + i};
                    MUST(epoll_ctl(polled.set, EPOLL_CTL_ADD, polled.watched[i], &event));
                }
            }
            uint64_t one = 1;
            unsigned i = n % 4;
            if (polled.is_ready[i])
                read(polled.watched[i], &one, sizeof one);
            else
                write(polled.watched[i], &one, sizeof one);
            polled.is_ready[i] = !polled.is_ready[i];
            """,
            """
            struct epoll_event found[8];
            int wanted = polled.is_ready[0] + polled.is_ready[1] + polled.is_ready[2] + polled.is_ready[3];
            int count = epoll_wait(polled.set, found, 8, 0);
            same("how many are ready", count, wanted);
            for (int i = 0; i < count; i++)
                same("whether one is", found[i].data.u64 - 1000 < 4 && polled.is_ready[found[i].data.u64 - 1000], 1);
            """,
        ),
        python=Text(
            do="""
                if not hasattr(m, "epoll"):
                    m.epoll, m.pair, m.ready = select.epoll(), socket.socketpair(), False
                    m.epoll.register(m.pair[0], select.EPOLLIN)
                m.pair[0].recv(1) if m.ready else m.pair[1].send(b"x")
                m.ready = not m.ready
                """,
            check='same("ready", len(m.epoll.poll(0)), int(m.ready))',
        ),
    ),
    Kind(
        "inotify",
        c=Text(
            "MODEL int notifier, watch_of_folder, notes_made;",
            """
            if (!notifier) {
                MUST(mkdir(in_base("watched%d", me), 0755));
                notifier = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
                watch_of_folder = inotify_add_watch(notifier, in_base("watched%d", me), IN_CREATE);
            }
            """,
            """
            char path[PATH_MAX], events[2000];
            snprintf(path, sizeof path, "%s/%d", in_base("watched%d", me), notes_made++);
            close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
            same("whether it is seen", read(notifier, events, sizeof events) > 0, 1);
            """,
        ),
    ),
    Kind(
        "memfd",
        c=Text(
            "MODEL int memory_fd; MODEL char memory_fd_data[5000]; MODEL int memory_seals;",
            """
            if (!memory_fd)
                memory_fd = memfd_create("random", MFD_CLOEXEC | MFD_ALLOW_SEALING);
            if (n % 9 == 0) {
                MUST(fcntl(memory_fd, F_ADD_SEALS, F_SEAL_SHRINK));
                memory_seals = F_SEAL_SHRINK;
            }
            fill(memory_fd_data, sizeof memory_fd_data, n);
            same("bytes", pwrite(memory_fd, memory_fd_data, sizeof memory_fd_data, 0), sizeof memory_fd_data);
            """,
            """
            char now[sizeof memory_fd_data];
            same("size", pread(memory_fd, now, sizeof now, 0), sizeof now);
            same_bytes("content", now, memory_fd_data, sizeof now);
            same("seals", fcntl(memory_fd, F_GET_SEALS), memory_seals);
            """,
        ),
    ),
    Kind(
        "pseudo-terminal",
        c=Text(
            "MODEL int pty[2]; MODEL unsigned short pty_rows; MODEL int pty_echo;",
            """
            if (!pty[0])
                MUST(openpty(&pty[0], &pty[1], NULL, NULL, NULL));
            struct winsize size = {.ws_row = pty_rows = 10 + n % 50, .ws_col = 80};
            MUST(ioctl(pty[1], TIOCSWINSZ, &size));
            struct termios modes;
            tcgetattr(pty[1], &modes);
            pty_echo = n / 64 % 2 ? ECHO : 0;
            modes.c_lflag = (modes.c_lflag & ~(unsigned)ECHO) | (unsigned)pty_echo;
            MUST(tcsetattr(pty[1], TCSANOW, &modes));
            """,
            """
            struct winsize size = {0};
            struct termios modes = {0};
            ioctl(pty[0], TIOCGWINSZ, &size);
            tcgetattr(pty[1], &modes);
            same("rows", size.ws_row, pty_rows);
            same("echo", modes.c_lflag & ECHO, pty_echo);
            char line[10] = "";
            write_all(pty[1], "abc\\n", 4);
            read_all(pty[0], line, 5);
            if (strncmp(line, "abc", 3))
                differ("it passes something else on");
            """,
        ),
    ),
    Kind(
        "flags of descriptors",
        c=Text(
            "MODEL struct { int fd, is_closed_at_exec, flags; } flagged[6];",
            """
            unsigned i = n % 6;
            if (!flagged[i].fd)
                flagged[i].fd = fcntl(open(in_base("flags%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600), F_DUPFD,
                                      (int)PICK(n / 6, 20, 100, 300, 500, 700));
            flagged[i].is_closed_at_exec = n / 32 % 2 ? FD_CLOEXEC : 0;
            MUST(fcntl(flagged[i].fd, F_SETFD, flagged[i].is_closed_at_exec));
            MUST(fcntl(flagged[i].fd, F_SETFL, n / 64 % 2 ? O_APPEND | O_NONBLOCK : 0));
            flagged[i].flags = fcntl(flagged[i].fd, F_GETFL);
            """,
            """
            for (int i = 0; i < 6; i++)
                if (flagged[i].fd) {
                    same("FD_CLOEXEC", fcntl(flagged[i].fd, F_GETFD), flagged[i].is_closed_at_exec);
                    same("flags", fcntl(flagged[i].fd, F_GETFL), flagged[i].flags);
                }
            """,
        ),
        python=Text(
            do="""
                m.handle = getattr(m, "handle", None) or open(in_base(f"flags{me()}"), "w")
                m.inheritable = bool(n % 2)
                os.set_inheritable(m.handle.fileno(), m.inheritable)
                os.set_blocking(m.handle.fileno(), True)
                """,
            check='same("inheritable", os.get_inheritable(m.handle.fileno()), m.inheritable)',
        ),
    ),
    Kind(
        "many descriptors",
        c=Text(
            "MODEL int many_fds[250]; MODEL int many_count;",
            """
            for (unsigned i = 0; i < n % 60 && many_count < 250; i++)
                many_fds[many_count++] = open("/dev/null", O_RDWR | O_CLOEXEC);
            """,
            """
            for (int i = 0; i < many_count; i++)
                same("bytes written", write(many_fds[i], "x", 1), 1);
            """,
        ),
    ),
    Kind(
        "descriptor of /proc/self",
        c=Text(
            "MODEL int own_status;",
            'if (!own_status) own_status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);',
            """
            char text[3000] = "";
            if (MUST(pread(own_status, text, sizeof text - 1, 0)) > 0)
                same("whose it is, less getpid()", atoi(strstr(text, "\\nPid:") + 5) - getpid(), 0);
            """,
        ),
    ),
    Kind(
        "descriptor without the C library",
        c=Text(
            "MODEL int raw_fd; MODEL unsigned raw_value;",
            """
            if (!raw_fd)
                raw_fd = (int)syscall(SYS_openat, AT_FDCWD, in_base("raw%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            same("bytes", syscall(SYS_pwrite64, raw_fd, &n, sizeof n, 0L), sizeof n);
            raw_value = n;
            """,
            """
            unsigned now = 0;
            same("bytes", syscall(SYS_pread64, raw_fd, &now, sizeof now, 0L), sizeof now);
            same("value", now, raw_value);
            """,
        ),
    ),
)
