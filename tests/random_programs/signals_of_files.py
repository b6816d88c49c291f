"""Kinds of steps: what descriptors do besides passing data on."""

from __future__ import annotations

from random_programs.kind import Kind, Text

KINDS = (
    Kind(
        "signal when data comes",
        often=0,
        c=Text(
            "MODEL int signalling[2]; MODEL int signal_of_data;",
            """
            if (!signalling[0])
                MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, signalling));
            signal_of_data = (int)PICK(n, SIGRTMIN + 3, SIGRTMIN + 5);
            MUST(fcntl(signalling[0], F_SETOWN, getpid()));
            MUST(fcntl(signalling[0], F_SETSIG, signal_of_data));
            MUST(fcntl(signalling[0], F_SETFL, O_ASYNC | O_NONBLOCK));
            """,
            """
            same("signal", fcntl(signalling[0], F_GETSIG), signal_of_data);
            same("owner, less getpid()", fcntl(signalling[0], F_GETOWN) - getpid(), 0);
            sigset_t wanted;
            sigemptyset(&wanted);
            sigaddset(&wanted, signal_of_data);
            write_all(signalling[1], "x", 1);
            siginfo_t info = {0};
            same("signal that comes", sigtimedwait(&wanted, &info, &(struct timespec){PATIENCE_S, 0}), signal_of_data);
            char one;
            read_all(signalling[0], &one, 1);
            while (sigtimedwait(&wanted, &info, &(struct timespec){0}) > 0) {}
            """,
        ),
    ),
    Kind(
        "lease of a file",
        often=0,
        c=Text(
            "MODEL int leased; MODEL int lease_model;",
            """
            if (!leased) {
                close(open(in_base("lease%d", me), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
                leased = open(in_base("lease%d", me), O_RDONLY | O_CLOEXEC);
            }
            fcntl(leased, F_SETLEASE, n % 3 ? F_RDLCK : F_UNLCK);
            lease_model = fcntl(leased, F_GETLEASE);
            """,
            'same("lease", fcntl(leased, F_GETLEASE), lease_model);',
            "fcntl(leased, F_SETLEASE, F_UNLCK);",
        ),
    ),
    Kind(
        "record lock",
        often=0,
        c=Text(
            """
            MODEL int record_fd, has_record;
            static short record_found(int fd)
            {
                pid_t pid = fork();
                struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 7, .l_len = 1};
                if (pid == 0)
                    _exit(fcntl(fd, F_GETLK, &lock) ? 99 : lock.l_type);
                int status = 0;
                wait_for(pid, &status, 0);
                return (short)WEXITSTATUS(status);
            }
            """,
            """
            if (!record_fd)
                record_fd = open(in_base("record%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            has_record = n % 3 > 0;
            struct flock lock = {.l_type = has_record ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET, .l_start = 5,
                                 .l_len = 5};
            MUST(fcntl(record_fd, F_SETLK, &lock));
            """,
            'same("what another process finds", record_found(record_fd), has_record ? F_WRLCK : F_UNLCK);',
        ),
    ),
    Kind(
        "pipe of packets",
        often=0,
        c=Text(
            "MODEL int packets[2]; MODEL int packet_sizes[8]; MODEL int packet_count;",
            """
            if (!packets[0])
                MUST(pipe2(packets, O_CLOEXEC | O_DIRECT | O_NONBLOCK));
            if (packet_count < 8) {
                packet_sizes[packet_count] = 1 + (int)(n % 50);
                char data[50] = "";
                write_all(packets[1], data, (size_t)packet_sizes[packet_count++]);
            }
            """,
            """
            same("flag", (fcntl(packets[1], F_GETFL) & O_DIRECT) != 0, 1);
            char data[100] = "";
            for (int i = 0; i < packet_count; i++) {
                same("size of a packet", read(packets[0], data, sizeof data), packet_sizes[i]);
                write_all(packets[1], data, (size_t)packet_sizes[i]);
            }
            """,
        ),
    ),
    Kind(
        "edge seen by epoll",
        often=0,
        harmless="epoll(7) lets an event come once more, and a program that reads then finds nothing",
        c=Text(
            "MODEL int edges, edges_fd, edges_seen;",
            """
            if (!edges) {
                edges = epoll_create1(EPOLL_CLOEXEC);
                edges_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
                struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 5};
                MUST(epoll_ctl(edges, EPOLL_CTL_ADD, edges_fd, &event));
            }
            struct epoll_event seen[2];
            edges_seen |= epoll_wait(edges, seen, 2, 0) == 1;
            """,
            """
            struct epoll_event seen[2];
            same("whether it was seen", edges_seen, 1);
            same("how often it is seen again", epoll_wait(edges, seen, 2, 0), 0);
            """,
        ),
    ),
    Kind(
        "single event of epoll",
        often=0,
        c=Text(
            "MODEL int singles, singles_fd, singles_seen;",
            """
            if (!singles) {
                singles = epoll_create1(EPOLL_CLOEXEC);
                singles_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
                struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 5};
                MUST(epoll_ctl(singles, EPOLL_CTL_ADD, singles_fd, &event));
            }
            struct epoll_event seen[2];
            singles_seen |= epoll_wait(singles, seen, 2, 0) == 1;
            """,
            """
            struct epoll_event seen[2];
            same("whether it was seen", singles_seen, 1);
            same("how often it is seen again", epoll_wait(singles, seen, 2, 0), 0);
            """,
        ),
    ),
    Kind(
        "datagrams over the network",
        often=0,
        c=Text(
            "MODEL int datagram_ends[2]; MODEL struct sockaddr_in datagram_address; MODEL unsigned datagram_n;",
            """
            if (!datagram_ends[0])
                for (int i = 0; i < 2; i++) {
                    datagram_ends[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
                    MUST(bind(datagram_ends[i], (struct sockaddr *)&any, sizeof any));
                    if (i == 0)
                        getsockname(datagram_ends[0], (struct sockaddr *)&datagram_address, &(socklen_t){sizeof any});
                }
            datagram_n = n;
            """,
            """
            unsigned now = 0;
            same("sent", sendto(datagram_ends[1], &datagram_n, sizeof now, 0, (struct sockaddr *)&datagram_address,
                                sizeof datagram_address), sizeof now);
            WAIT_UNTIL(recv(datagram_ends[0], &now, sizeof now, 0) == sizeof now, "a datagram");
            same("content", now, datagram_n);
            """,
        ),
    ),
    Kind(
        "listener with an abstract name",
        often=0,
        c=Text(
            """
            MODEL int abstract;
            static socklen_t abstract_name(struct sockaddr_un *name)
            {
                *name = (struct sockaddr_un){.sun_family = AF_UNIX};
                int used = snprintf(name->sun_path + 1, 100, "random-%ld-%d", key, me);
                return (socklen_t)(sizeof(sa_family_t) + 1 + (size_t)used);
            }
            """,
            """
            struct sockaddr_un name;
            socklen_t size = abstract_name(&name);
            if (!abstract) {
                abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                MUST(bind(abstract, (struct sockaddr *)&name, size));
                MUST(listen(abstract, 5));
            }
            """,
            """
            struct sockaddr_un name;
            socklen_t size = abstract_name(&name);
            int one = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            same("connecting", connect(one, (struct sockaddr *)&name, size), 0);
            close(accept(abstract, NULL, NULL));
            close(one);
            """,
        ),
    ),
    Kind(
        "options of Unix sockets",
        often=0,
        c=Text(
            """
            MODEL int optional[2]; MODEL int option_models[4];
            static const int unix_options[] = {SO_PASSCRED, SO_KEEPALIVE, SO_PRIORITY, SO_RCVLOWAT};
            """,
            """
            if (!optional[0])
                MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, optional));
            struct timeval bound = {.tv_sec = 5 + n % 5};
            unsigned i = n % 4;
            int value = i < 2 ? (int)(n / 4 % 2) : 1 + (int)(n / 4 % 6);
            MUST(setsockopt(optional[0], SOL_SOCKET, unix_options[i], &value, sizeof value));
            MUST(setsockopt(optional[0], SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound));
            option_models[3] = 0;
            for (int k = 0; k < 4; k++)
                getsockopt(optional[0], SOL_SOCKET, unix_options[k], &option_models[k], &(socklen_t){sizeof(int)});
            """,
            """
            static const char *const names[] = {"SO_PASSCRED", "SO_KEEPALIVE", "SO_PRIORITY", "SO_RCVLOWAT"};
            struct timeval bound = {0};
            for (int k = 0; k < 4; k++) {
                int now = -1;
                getsockopt(optional[0], SOL_SOCKET, unix_options[k], &now, &(socklen_t){sizeof now});
                same(names[k], now, option_models[k]);
            }
            getsockopt(optional[0], SOL_SOCKET, SO_RCVTIMEO, &bound, &(socklen_t){sizeof bound});
            same("whether there is a time-out", bound.tv_sec >= 5, 1);
            """,
        ),
    ),
    Kind(
        "netlink socket",
        often=0,
        c=Text(
            """
            #include <linux/netlink.h>
            #include <linux/rtnetlink.h>
            MODEL int netlink_fd;
            """,
            """
            if (!netlink_fd)
                netlink_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
            """,
            """
            struct { struct nlmsghdr head; struct rtgenmsg body; } asked = {
                {sizeof asked, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
            char answer[40000];
            same("asking", send(netlink_fd, &asked, sizeof asked, 0), sizeof asked);
            same("whether it answers", recv(netlink_fd, answer, sizeof answer, 0) > 0, 1);
            while (recv(netlink_fd, answer, sizeof answer, MSG_DONTWAIT) > 0) {}
            """,
        ),
    ),
    Kind(
        "descriptor with O_PATH",
        often=0,
        c=Text(
            "MODEL int path_fd;",
            "if (!path_fd) path_fd = open(base, O_PATH | O_CLOEXEC);",
            'same("whether it leads there", faccessat(path_fd, ".", F_OK, 0), 0);',
        ),
    ),
    Kind(
        "file without a name",
        often=0,
        c=Text(
            "MODEL int nameless; MODEL unsigned nameless_n;",
            """
            if (!nameless)
                nameless = open(base, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
            /* as on file systems that do not have it */
            if (nameless < 0 && errno == EOPNOTSUPP) {
                nameless = open(in_base("nameless%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                unlink(in_base("nameless%d", me));
            }
            same("bytes", pwrite(nameless, &n, sizeof n, 0), sizeof n);
            nameless_n = n;
            """,
            """
            unsigned now = 0;
            same("bytes", pread(nameless, &now, sizeof now, 0), sizeof now);
            same("content", now, nameless_n);
            """,
        ),
    ),
    Kind(
        "descriptor of a process",
        often=0,
        c=Text(
            "MODEL int process_fd;",
            "if (!process_fd) process_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);",
            'same("whether it is alive", syscall(SYS_pidfd_send_signal, process_fd, 0, NULL, 0), 0);',
        ),
    ),
    Kind(
        "faults handled by the program",
        often=0,
        c=Text(
            "MODEL int faults;",
            "if (!faults) faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);",
            'if (faults > 0) same("flags", fcntl(faults, F_GETFD), FD_CLOEXEC);',
        ),
    ),
    Kind(
        "asynchronous I/O of the kernel",
        often=0,
        c=Text(
            "#include <linux/aio_abi.h>\nMODEL aio_context_t aio;",
            "if (!aio) MUST(syscall(SYS_io_setup, 8, &aio));",
            """
            struct io_event events[2];
            same("events", syscall(SYS_io_getevents, aio, 0L, 2L, events, &(struct timespec){0}), 0);
            """,
        ),
    ),
)
