"""Kinds of steps: pipes and sockets, with what is in them.

What is in a pipe or a socket is checked by taking it out and putting it back.
"""

from __future__ import annotations

from random_programs.kind import Kind, Text

_HELPERS = Text(
    """
    static long in_there(int fd)
    {
        int size = -1;
        MUST(ioctl(fd, FIONREAD, &size));
        return size;
    }
    static int can_read(int fd)
    {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        return poll(&one, 1, 0) == 1 && one.revents & POLLIN;
    }
    /* takes out SIZE bytes that SEED stands for, and says what differs */
    static void take(int fd, unsigned seed, size_t size)
    {
        static __thread char wanted[1 << 20], found[1 << 20];
        fill(wanted, size, seed);
        for (size_t got = 0; got < size;) {
            if (!can_read(fd)) {
                differ("%zu bytes are there, not %zu", got, size);
                return;
            }
            ssize_t more = read(fd, found + got, size - got);
            if (more <= 0 && errno != EINTR) {
                differ("%zu bytes are there, not %zu", got, size);
                return;
            }
            got += more > 0 ? (size_t)more : 0;
        }
        same_bytes("data", found, wanted, size);
    }
    static void give(int fd, unsigned seed, size_t size)
    {
        static __thread char data[1 << 20];
        fill(data, size, seed);
        write_all(fd, data, size);
    }
    """
)
_SHARED = "data in descriptors"
_STREAM_C = """
    MODEL struct {{ int fds[2]; unsigned seed; size_t size; }} {name}[3];
    static void fill_{name}(unsigned n)
    {{
        unsigned i = n % 3;
        if (!{name}[i].fds[1])
            MUST({make});
        if ({name}[i].size)
            take({name}[i].fds[0], {name}[i].seed, {name}[i].size);
        give({name}[i].fds[1], {name}[i].seed = n, {name}[i].size = {size});
    }}
    static void check_{name}_data(void)
    {{
        for (int i = 0; i < 3; i++)
            if ({name}[i].fds[1]) {{
                same("bytes", in_there({name}[i].fds[0]), (long){name}[i].size);
                take({name}[i].fds[0], {name}[i].seed, {name}[i].size);
                same("whether there is more", can_read({name}[i].fds[0]), 0);
                give({name}[i].fds[1], {name}[i].seed, {name}[i].size);
            }}
    }}
"""
_MESSAGES_C = """
    MODEL struct {{ int is_there, fds[2], count; unsigned seeds[6]; }} {name};
    static size_t size_of_{name}(unsigned n) {{ return 1 + n % 700; }}
    static void fill_{name}(unsigned n)
    {{
        if (!{name}.is_there)
            MUST(socketpair(AF_UNIX, {type} | SOCK_CLOEXEC, 0, {name}.fds));
        {name}.is_there = 1;
        if ({name}.count < 6) {{
            char data[800];
            fill(data, size_of_{name}(n), n);
            MUST(send({name}.fds[1], data, size_of_{name}(n), 0));
            {name}.seeds[{name}.count++] = n;
        }}
    }}
    static void check_{name}_messages(void)
    {{
        char found[800], wanted[800];
        for (int i = 0; i < {name}.count; i++) {{
            ssize_t size = recv({name}.fds[0], found, sizeof found, MSG_DONTWAIT);
            same("size of a message", size, (long)size_of_{name}({name}.seeds[i]));
            fill(wanted, sizeof wanted, {name}.seeds[i]);
            if (size > 0)
                same_bytes("message", found, wanted, (size_t)size);
        }}
        same("whether there is one more", recv({name}.fds[0], found, sizeof found, MSG_DONTWAIT) >= 0, 0);
        for (int i = 0; i < {name}.count; i++) {{
            fill(wanted, sizeof wanted, {name}.seeds[i]);
            MUST(send({name}.fds[1], wanted, size_of_{name}({name}.seeds[i]), 0));
        }}
    }}
"""


def _stream(name: str, identifier: str, make: str, size: str = "n / 3 % 50000", often: int = 1) -> Kind:
    declare = _STREAM_C.format(name=identifier, make=make, size=size)
    return Kind(
        name,
        Text(declare, f"fill_{identifier}(n);", f"check_{identifier}_data();"),
        python=_PYTHON_STREAMS.get(name),
        needs=_SHARED,
        often=often,
    )


def _messages(name: str, identifier: str, type_of_socket: str) -> Kind:
    declare = _MESSAGES_C.format(name=identifier, type=type_of_socket)
    return Kind(name, Text(declare, f"fill_{identifier}(n);", f"check_{identifier}_messages();"))


_PYTHON_STREAMS = {
    "pipe": Text(
        do="""
            if hasattr(m, "ends"):
                same("data", os.read(m.ends[0], 60000), m.data)
            else:
                m.ends = os.pipe()
            m.data = data_of(n, 1 + n % 30000)
            os.write(m.ends[1], m.data)
            """,
        check="""
            same("data", os.read(m.ends[0], 60000), m.data)
            os.write(m.ends[1], m.data)
            """,
    ),
    "stream of a socket pair": Text(
        do="""
            m.ends = getattr(m, "ends", None) or socket.socketpair()
            m.data = getattr(m, "data", b"") + data_of(n, 1 + n % 3000)
            m.ends[1].sendall(data_of(n, 1 + n % 3000))
            if len(m.data) > 30000:
                same("data", m.ends[0].recv(60000, socket.MSG_WAITALL | socket.MSG_DONTWAIT), m.data)
                m.data = b""
            """,
        check="""
            if m.data:
                same("data", m.ends[0].recv(60000, socket.MSG_PEEK), m.data)
            """,
    ),
}
_TCP_C = """
    static int connect_to_self(int *fds)
    {
        struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof here;
        int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(listening, (struct sockaddr *)&here, size) || listen(listening, 5) ||
            getsockname(listening, (struct sockaddr *)&here, &size) || connect(fds[1], (struct sockaddr *)&here, size))
            return -1;
        fds[0] = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        close(listening);
        return fds[0] < 0 ? -1 : 0;
    }
"""

KINDS = (
    Kind(_SHARED, _HELPERS, Text(), often=0),
    _stream("pipe", "pipes", "pipe2(pipes[i].fds, n / 3 % 2 ? O_CLOEXEC : O_NONBLOCK)", often=2),
    _stream(
        "large pipe",
        "large_pipes",
        "pipe2(large_pipes[i].fds, O_CLOEXEC) || fcntl(large_pipes[i].fds[1], F_SETPIPE_SZ, 1 << 20) < 0 ? -1 : 0",
        "70000 + n / 3 % 900000",
    ),
    _stream(
        "stream of a socket pair", "pairs", "socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i].fds)", often=2
    ),
    _messages("datagrams of a socket pair", "datagrams", "SOCK_DGRAM"),
    _messages("messages of a socket pair", "packets", "SOCK_SEQPACKET"),
    Kind("TCP", Text(_TCP_C), often=0, needs=_SHARED),
    Kind(
        "TCP connection with data",
        needs="TCP",
        c=Text(
            _STREAM_C.format(name="connections", make="connect_to_self(connections[i].fds)", size="n / 3 % 20000")
            + """
            /* the kernel may pass on data some time after they were sent */
            static void wait_for_data(void)
            {
                for (int i = 0; i < 3; i++)
                    if (connections[i].fds[1])
                        WAIT_UNTIL(in_there(connections[i].fds[0]) >= (long)connections[i].size, "data");
            }
            """,
            "wait_for_data(); fill_connections(n);",
            "wait_for_data(); check_connections_data();",
        ),
    ),
    Kind(
        "TCP options",
        needs="TCP",
        c=Text(
            """
            static const struct { int level, name; } options[] = {{IPPROTO_TCP, TCP_NODELAY},
                {SOL_SOCKET, SO_KEEPALIVE}, {IPPROTO_TCP, TCP_KEEPIDLE}, {SOL_SOCKET, SO_REUSEADDR}};
            MODEL int optioned[2], option_models[COUNT(options)], option_is_set[COUNT(options)];
            """,
            """
            if (!optioned[0])
                MUST(connect_to_self(optioned));
            unsigned i = n % 4;
            option_models[i] = i == 2 ? (int)(100 + n / 4 % 100) : (int)(n / 4 % 2);
            MUST(setsockopt(optioned[1], options[i].level, options[i].name, &option_models[i], sizeof(int)));
            option_is_set[i] = 1;
            """,
            """
            for (unsigned i = 0; i < 4; i++)
                if (option_is_set[i]) {
                    int now = -1;
                    socklen_t size = sizeof now;
                    MUST(getsockopt(optioned[1], options[i].level, options[i].name, &now, &size));
                    same("option", now, option_models[i]);
                }
            """,
        ),
        python=Text(
            do="""
                if not hasattr(m, "ends"):
                    with socket.create_server(("127.0.0.1", 0)) as server:
                        near = socket.create_connection(server.getsockname())
                        m.ends = (near, server.accept()[0])
                m.on = n % 2
                m.ends[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, m.on)
                m.ends[0].settimeout(100 + n % 50)
                """,
            check="""
                same("option", m.ends[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), m.on)
                m.ends[0].sendall(b"ping")
                same("data", m.ends[1].recv(4, socket.MSG_WAITALL), b"ping")
                """,
        ),
    ),
    Kind(
        "end of one direction",
        needs=_SHARED,
        c=Text(
            "MODEL int half[2]; MODEL unsigned half_seed;",
            """
            if (half[0])
                return;
            MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, half));
            give(half[0], half_seed = n, 100);
            MUST(shutdown(half[1], SHUT_WR));
            """,
            """
            char one;
            same("whether it has ended", recv(half[0], &one, 1, MSG_DONTWAIT), 0);
            take(half[1], half_seed, 100);
            give(half[0], half_seed, 100);
            """,
        ),
    ),
    Kind(
        "end of a pipe",
        needs=_SHARED,
        c=Text(
            "MODEL int ended[2]; MODEL unsigned ended_seed; MODEL size_t ended_left;",
            """
            if (!ended[0]) {
                MUST(pipe2(ended, O_CLOEXEC));
                give(ended[1], ended_seed = n, 4000);
                close(ended[1]);
                ended_left = 4000;
            }
            """,
            """
            same("bytes", in_there(ended[0]), (long)ended_left);
            if (!ended_left) {
                char one;
                same("whether it has ended", read(ended[0], &one, 1), 0);
            }
            """,
        ),
    ),
    Kind(
        "descriptor on its way",
        c=Text(
            """
            MODEL int way[2];
            static void send_descriptor(int fd)
            {
                char space[CMSG_SPACE(sizeof fd)] = {0};
                struct iovec part = {"x", 1};
                struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space,
                                         .msg_controllen = sizeof space};
                struct cmsghdr *head = CMSG_FIRSTHDR(&message);
                head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof fd);
                memcpy(CMSG_DATA(head), &fd, sizeof fd);
                MUST(sendmsg(way[1], &message, 0));
                close(fd);
            }
            static int receive_descriptor(void)
            {
                int fd = -1;
                char space[CMSG_SPACE(sizeof fd)] = {0}, one;
                struct iovec part = {&one, 1};
                struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space,
                                         .msg_controllen = sizeof space};
                MUST(recvmsg(way[0], &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
                struct cmsghdr *head = CMSG_FIRSTHDR(&message);
                if (head && head->cmsg_type == SCM_RIGHTS)
                    memcpy(&fd, CMSG_DATA(head), sizeof fd);
                return fd;
            }
            """,
            """
            if (!way[0]) {
                MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, way));
                send_descriptor(open(in_base("sent%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
            }
            """,
            """
            int fd = receive_descriptor();
            if (fd < 0)
                differ("no descriptor comes");
            else
                send_descriptor(fd);
            """,
        ),
    ),
    Kind(
        "listener with a name",
        c=Text(
            """
            MODEL int listener, caller;
            static struct sockaddr_un listener_name(void)
            {
                struct sockaddr_un name = {.sun_family = AF_UNIX};
                snprintf(name.sun_path, sizeof name.sun_path, "/tmp/random-%ld-%d", key, me);
                return name;
            }
            """,
            """
            struct sockaddr_un name = listener_name();
            if (listener)
                return;
            unlink(name.sun_path);
            listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            MUST(bind(listener, (struct sockaddr *)&name, sizeof name));
            MUST(listen(listener, 4));
            """,
            """
            struct sockaddr_un name = listener_name();
            caller = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            MUST(connect(caller, (struct sockaddr *)&name, sizeof name));
            int fd = accept(listener, NULL, NULL);
            MUST(fd);
            close(fd), close(caller);
            """,
            "struct sockaddr_un name = listener_name(); unlink(name.sun_path);",
        ),
    ),
    Kind(
        "fifo",
        needs=_SHARED,
        c=Text(
            "MODEL int fifo; MODEL unsigned fifo_seed; MODEL size_t fifo_size;",
            """
            if (!fifo) {
                MUST(mkfifo(in_base("fifo%d", me), 0600));
                fifo = open(in_base("fifo%d", me), O_RDWR | O_CLOEXEC);
            } else {
                take(fifo, fifo_seed, fifo_size);
            }
            give(fifo, fifo_seed = n, fifo_size = n % 20000);
            """,
            'same("bytes", in_there(fifo), (long)fifo_size); take(fifo, fifo_seed, fifo_size); give(fifo, fifo_seed, '
            "fifo_size);",
        ),
    ),
)
