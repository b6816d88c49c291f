"""Kinds of steps: files of their own kind, folders, links, locks and streams."""

from __future__ import annotations

from random_programs.kind import Kind, Text

KINDS = (
    Kind(
        "offset shared by two descriptors",
        c=Text(
            "MODEL int shared_fds[2]; MODEL long offset_model;",
            """
            if (!shared_fds[0]) {
                shared_fds[0] = open(in_base("offset%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                shared_fds[1] = fcntl(shared_fds[0], n % 2 ? F_DUPFD : F_DUPFD_CLOEXEC, 100 + n % 300);
                MUST(shared_fds[1]);
            }
            char data[500];
            fill(data, sizeof data, n);
            offset_model += MUST(write(shared_fds[n / 2 % 2], data, n / 4 % sizeof data));
            if (n % 5 == 0)
                MUST(lseek(shared_fds[0], offset_model /= 2, SEEK_SET));
            """,
            """
            for (int i = 0; i < 2; i++)
                same("offset", lseek(shared_fds[i], 0, SEEK_CUR), offset_model);
            """,
        ),
    ),
    Kind(
        "file open for append",
        c=Text(
            "MODEL int append_fd; MODEL long appended_model;",
            """
            if (!append_fd)
                append_fd = open(in_base("append%d", me), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
            appended_model += MUST(dprintf(append_fd, "line %u\\n", n));
            """,
            """
            struct stat now;
            fstat(append_fd, &now);
            same("size", now.st_size, appended_model);
            same("O_APPEND", fcntl(append_fd, F_GETFL) & O_APPEND, O_APPEND);
            """,
        ),
        python=Text(
            do="""
                with open(in_base(f"append{me()}"), "a") as file:
                    file.write(f"line {n}\\n")
                m.text = getattr(m, "text", "") + f"line {n}\\n"
                """,
            check='same("content", open(in_base(f"append{me()}")).read(), m.text)',
        ),
    ),
    Kind(
        "stdio buffer",
        c=Text(
            "MODEL FILE *stream_model; MODEL long printed_model;",
            """
            if (!stream_model) {
                stream_model = fopen(in_base("stream%d", me), "w+e");
                setvbuf(stream_model, NULL, _IOFBF, 1 << 14);
            }
            printed_model += fprintf(stream_model, "number %u\\n", n);
            if (n % 7 == 0)
                fflush(stream_model);
            """,
            'same("place", ftell(stream_model), printed_model);',
            "fclose(stream_model);",
        ),
        python=Text(
            do="""
                m.handle = getattr(m, "handle", None) or open(in_base(f"stream{me()}"), "w")
                m.handle.write(f"number {n}\\n")
                if n % 7 == 0:
                    m.handle.flush()
                """,
            check='same("open", m.handle.closed, False)',
        ),
    ),
    Kind(
        "folders",
        c=Text(
            "MODEL int folders_model, removed_model;",
            """
            if (n % 4 == 0 && removed_model < folders_model)
                MUST(rmdir(in_base("folder%d", 1000 * me + removed_model++)));
            else
                MUST(mkdir(in_base("folder%d", 1000 * me + folders_model++), 0700 | n / 8 % 64));
            """,
            """
            for (int i = 0; i < folders_model; i++)
                same("whether it is there", access(in_base("folder%d", 1000 * me + i), F_OK) == 0, i >= removed_model);
            """,
        ),
        python=Text(
            do="""
                m.made = getattr(m, "made", 0) + 1
                os.mkdir(in_base(f"folder{me()}-{m.made}"))
                """,
            check='same("there", os.path.isdir(in_base(f"folder{me()}-{m.made}")), True)',
        ),
    ),
    Kind(
        "symbolic link",
        c=Text(
            "MODEL unsigned link_model;",
            """
            char target[40];
            snprintf(target, sizeof target, "to/%u", link_model = n);
            unlink(in_base("link%d", me));
            MUST(symlink(target, in_base("link%d", me)));
            """,
            """
            char now[60] = "";
            MUST(readlink(in_base("link%d", me), now, sizeof now - 1));
            same("target", strtol(now + 3, NULL, 10), link_model);
            """,
        ),
    ),
    Kind(
        "mode of a file",
        c=Text(
            "MODEL mode_t file_mode_model;",
            """
            int fd = open(in_base("mode%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            file_mode_model = 0600 | n % 0177;
            if (n % 2)
                MUST(fchmod(fd, file_mode_model));
            else
                MUST(chmod(in_base("mode%d", me), file_mode_model));
            close(fd);
            """,
            """
            struct stat now;
            MUST(stat(in_base("mode%d", me), &now));
            same("mode", now.st_mode & 07777, file_mode_model);
            """,
        ),
    ),
    Kind(
        "replace a file",
        c=Text(
            "MODEL char replaced_model[3000]; MODEL size_t replaced_size;",
            """
            replaced_size = n % sizeof replaced_model;
            fill(replaced_model, replaced_size, n);
            int fd = open(in_base("new%d", me), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
            write_all(fd, replaced_model, replaced_size);
            fsync(fd);
            close(fd);
            MUST(rename(in_base("new%d", me), in_base("replaced%d", me)));
            """,
            """
            char now[sizeof replaced_model + 1];
            int fd = open(in_base("replaced%d", me), O_RDONLY | O_CLOEXEC);
            same("size", read(fd, now, sizeof now), (long)replaced_size);
            same_bytes("content", now, replaced_model, replaced_size);
            close(fd);
            """,
        ),
        python=Text(
            do="""
                m.text = data_of(n, n % 3000)
                with tempfile.NamedTemporaryFile(dir=in_base(""), delete=False) as new:
                    new.write(m.text)
                os.replace(new.name, in_base(f"replaced{me()}"))
                """,
            check='same("content", open(in_base(f"replaced{me()}"), "rb").read(), m.text)',
        ),
    ),
    Kind(
        "directory stream",
        c=Text(
            "MODEL DIR *stream_of_dir; MODEL int entries_read;",
            """
            if (!stream_of_dir) {
                MUST(mkdir(in_base("many%d", me), 0755));
                for (int i = 0; i < 30; i++) {
                    char path[PATH_MAX];
                    snprintf(path, sizeof path, "%s/%d", in_base("many%d", me), i);
                    close(open(path, O_CREAT | O_WRONLY, 0600));
                }
                stream_of_dir = opendir(in_base("many%d", me));
            }
            for (unsigned i = 0; i < n % 4; i++)
                entries_read += readdir(stream_of_dir) != NULL;
            """,
            """
            long at = telldir(stream_of_dir);
            int left = 0;
            while (readdir(stream_of_dir))
                left++;
            same("entries", entries_read + left, 32);
            seekdir(stream_of_dir, at);
            """,
        ),
    ),
    Kind(
        "lock of a file",
        c=Text(
            """
            MODEL int lock_fd, lock_kind, is_locked;
            static short found_lock(int fd, int is_open_file_lock)
            {
                struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
                if (is_open_file_lock) {
                    MUST(fcntl(fd, F_OFD_GETLK, &lock));
                    return lock.l_type;
                }
                pid_t pid = fork();
                if (pid == 0)
                    _exit(fcntl(fd, F_GETLK, &lock) ? 99 : lock.l_type);
                int status = 0;
                wait_for(pid, &status, 0);
                return (short)WEXITSTATUS(status);
            }
            """,
            """
            if (!lock_fd) {
                lock_fd = open(in_base("lock%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                lock_kind = (int)(n / 4 % 2);
            }
            is_locked = n % 3 > 0;
            struct flock lock = {.l_type = is_locked ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET, .l_len = 5};
            if (lock_kind == 0)
                MUST(flock(lock_fd, (is_locked ? LOCK_EX : LOCK_UN) | LOCK_NB));
            else
                MUST(fcntl(lock_fd, F_SETLK, &lock));
            """,
            """
            if (lock_kind == 0) {
                int other = open(in_base("lock%d", me), O_RDWR | O_CLOEXEC);
                same("whether another can lock it", flock(other, LOCK_EX | LOCK_NB) == 0, !is_locked);
                close(other);
            } else {
                same("lock that another process finds", found_lock(lock_fd, 0), is_locked ? F_WRLCK : F_UNLCK);
            }
            """,
        ),
        python=Text(
            do="""
                m.handle = getattr(m, "handle", None) or open(in_base(f"lock{me()}"), "w")
                m.locked = n % 3 > 0
                fcntl.flock(m.handle, fcntl.LOCK_EX if m.locked else fcntl.LOCK_UN)
                """,
            check="""
                with open(in_base(f"lock{me()}"), "r+") as other:
                    try:
                        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        same("free", True, not m.locked)
                    except BlockingIOError:
                        same("free", False, not m.locked)
                """,
        ),
    ),
    Kind(
        "lock of an open file",
        c=Text(
            "MODEL int ofd_fd, ofd_type;",
            """
            if (!ofd_fd)
                ofd_fd = open(in_base("ofd%d", me), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            ofd_type = (int)PICK(n, F_WRLCK, F_UNLCK, F_RDLCK);
            struct flock lock = {.l_type = (short)ofd_type, .l_whence = SEEK_SET, .l_len = 5};
            MUST(fcntl(ofd_fd, F_OFD_SETLK, &lock));
            """,
            """
            int other = open(in_base("ofd%d", me), O_RDWR | O_CLOEXEC);
            struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
            MUST(fcntl(other, F_OFD_GETLK, &lock));
            same("lock that another finds", lock.l_type, ofd_type);
            close(other);
            """,
        ),
    ),
    Kind(
        "deleted temporary file",
        c=Text(
            "MODEL FILE *temporary_model; MODEL char temporary_data[2000]; MODEL size_t temporary_size;",
            """
            if (!temporary_model)
                temporary_model = tmpfile();
            size_t size = n % 200;
            if (temporary_size + size > sizeof temporary_data)
                return;
            fill(temporary_data + temporary_size, size, n);
            fseek(temporary_model, (long)temporary_size, SEEK_SET);
            fwrite(temporary_data + temporary_size, 1, size, temporary_model);
            fflush(temporary_model);
            temporary_size += size;
            """,
            """
            char now[sizeof temporary_data + 1];
            same("size", pread(fileno(temporary_model), now, sizeof now, 0), (long)temporary_size);
            same_bytes("content", now, temporary_data, temporary_size);
            """,
        ),
    ),
    Kind(
        "database",
        python=Text(
            do="""
                if not hasattr(m, "base"):
                    m.base = sqlite3.connect(in_base(f"base{me()}.db"), isolation_level=None, check_same_thread=False)
                    m.base.execute("pragma synchronous = off")
                    m.base.execute(f"pragma journal_mode = {['delete', 'truncate', 'persist'][n % 3]}")
                    m.base.execute("create table rows (n)")
                    m.rows = []
                m.base.execute("insert into rows values (?)", [n])
                m.rows.append(n)
                """,
            check='same("rows", [n for n, in m.base.execute("select n from rows order by rowid")], m.rows)',
        ),
    ),
)
