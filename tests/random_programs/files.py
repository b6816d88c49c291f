"""Kinds of steps: files. They share a model of eight files with their content; folders and links have their own."""

from __future__ import annotations

from random_programs.kind import Kind, Text

_MODEL_C = Text(
    """
    enum { FILES = 8, MOST = 20000 };
    struct file { int is_there, fd, number, is_unlinked, has_link; size_t size; char *mapped, data[MOST]; };
    MODEL struct file files[FILES];
    MODEL int files_made;

    static const char *name_of(int number) { return in_base("file%d", number + 1000 * me); }

    static struct file *a_file(unsigned n)
    {
        struct file *file = &files[n % FILES];
        if (!file->is_there) {
            memset(file, 0, sizeof *file);
            file->number = files_made++;
            file->fd = open(name_of(file->number), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600 | (n / 8 % 64));
            MUST(file->fd);
            file->is_there = 1;
        }
        return file;
    }

    static void put(struct file *file, size_t at, unsigned n, size_t size)
    {
        if (at + size > MOST)
            return;
        char data[MOST];
        fill(data, size, n);
        if (file->size < at)
            memset(file->data + file->size, 0, at - file->size);
        memcpy(file->data + at, data, size);
        if (at + size > file->size)
            file->size = at + size;
        same("bytes written", pwrite(file->fd, data, size, (off_t)at), (long)size);
    }
    """,
    check="""
    static __thread char found[MOST + 1];
    for (int i = 0; i < FILES; i++)
        if (files[i].is_there) {
            struct file *file = &files[i];
            ssize_t got = pread(file->fd, found, sizeof found, 0);
            same("size", got, (long)file->size);
            if (got == (ssize_t)file->size)
                same_bytes("content", found, file->data, file->size);
            struct stat open_one, named;
            MUST(fstat(file->fd, &open_one));
            same("number of names", (long)open_one.st_nlink, !file->is_unlinked + file->has_link);
            if (!file->is_unlinked && MUST(stat(name_of(file->number), &named)) == 0)
                same("whether it is the open one", named.st_ino == open_one.st_ino, 1);
            if (file->mapped)
                same_bytes("what is mapped", file->mapped, file->data, file->size < PAGE ? file->size : PAGE);
        }
    """,
)
_MODEL_PYTHON = Text(
    """
    def a_file(n, m):
        files = vars(m).setdefault("files", {})
        m.made = getattr(m, "made", 0)
        if n % 6 not in files:
            path = in_base(f"file{m.made}-{me()}")
            files[n % 6] = types.SimpleNamespace(path=path, handle=open(path, "w+b", buffering=0), data=b"")
            m.made += 1
        return files[n % 6]
    """,
    check="""
    for one in m.files.values():
        at = one.handle.tell()
        one.handle.seek(0)
        same("content", one.handle.read(), one.data)
        one.handle.seek(at)
        if one.path:
            with open(one.path, "rb") as again:
                same("content by name", again.read(), one.data)
    """,
)
_SHARED = "open files"

KINDS = (
    Kind(_SHARED, _MODEL_C, _MODEL_PYTHON, often=0),
    Kind(
        "write at the end",
        needs=_SHARED,
        often=3,
        c=Text(do="struct file *file = a_file(n); put(file, file->size, n, n / 64 % 1500);"),
        python=Text(
            do="""
            one = a_file(n, m)
            more = data_of(n, n // 8 % 1500)
            one.handle.seek(len(one.data))
            one.handle.write(more)
            one.data += more
            """
        ),
    ),
    Kind(
        "overwrite in place",
        needs=_SHARED,
        often=3,
        c=Text(
            do="""
            struct file *file = a_file(n);
            size_t at = file->size ? n / 8 % file->size : 0, size = n / 64 % 400;
            put(file, at, n, at + size <= file->size ? size : file->size - at);
            """
        ),
        python=Text(
            do="""
            one = a_file(n, m)
            at = n // 8 % (len(one.data) + 1)
            new = data_of(n, n // 64 % 400)
            one.handle.seek(at)
            one.handle.write(new)
            one.data = one.data[:at] + new + one.data[at + len(new):]
            """
        ),
    ),
    Kind(
        "write beyond the end",
        needs=_SHARED,
        c=Text(do="struct file *file = a_file(n); put(file, file->size + n / 8 % 3000, n, n / 64 % 400 + 1);"),
    ),
    Kind(
        "truncate",
        needs=_SHARED,
        c=Text(
            do="""
            struct file *file = a_file(n);
            if (file->mapped)
                return;
            size_t size = n / 16 % (file->size + 300);
            size = size < MOST ? size : MOST;
            if (n / 8 % 2 || file->is_unlinked)
                MUST(ftruncate(file->fd, (off_t)size));
            else
                MUST(truncate(name_of(file->number), (off_t)size));
            if (size > file->size)
                memset(file->data + file->size, 0, size - file->size);
            file->size = size;
            """
        ),
        python=Text(
            do="""
            one = a_file(n, m)
            size = n // 8 % (len(one.data) + 1)
            one.handle.truncate(size)
            one.data = one.data[:size]
            """
        ),
    ),
    Kind(
        "rename",
        needs=_SHARED,
        c=Text(
            do="""
            struct file *file = a_file(n);
            if (file->is_unlinked)
                return;
            int number = files_made++;
            MUST(rename(name_of(file->number), name_of(number)));
            file->number = number;
            """
        ),
        python=Text(
            do="""
            one = a_file(n, m)
            if one.path:
                os.rename(one.path, one.path + "+")
                one.path += "+"
            """
        ),
    ),
    Kind(
        "rename over another",
        needs=_SHARED,
        c=Text(
            do="""
            struct file *file = a_file(n), *other = a_file(n + 1 + n / 8 % 3);
            if (file->is_unlinked || other->is_unlinked || file == other)
                return;
            MUST(rename(name_of(file->number), name_of(other->number)));
            file->number = other->number;
            other->is_unlinked = 1;
            """
        ),
    ),
    Kind(
        "unlink while open",
        needs=_SHARED,
        c=Text(
            do="""
            struct file *file = a_file(n);
            if (!file->is_unlinked)
                MUST(unlink(name_of(file->number)));
            file->is_unlinked = 1;
            """
        ),
        python=Text(
            do="""
            one = a_file(n, m)
            if one.path:
                os.unlink(one.path)
            one.path = None
            """
        ),
    ),
    Kind(
        "close",
        needs=_SHARED,
        c=Text(
            do="""
            struct file *file = a_file(n);
            if (file->mapped)
                munmap(file->mapped, PAGE);
            MUST(close(file->fd));
            file->is_there = 0;
            """
        ),
        python=Text(do="one = a_file(n, m); one.handle.close(); del m.files[n % 6]"),
    ),
    Kind(
        "close and open anew",
        needs=_SHARED,
        often=2,
        c=Text(
            do="""
            struct file *file = a_file(n);
            if (file->is_unlinked)
                return;
            close(file->fd);
            file->fd = open(name_of(file->number), O_RDWR | O_CLOEXEC);
            MUST(file->fd);
            """
        ),
        python=Text(
            do="""
            one = a_file(n, m)
            if one.path:
                one.handle.close()
                one.handle = open(one.path, "r+b", buffering=0)
            """
        ),
    ),
    Kind(
        "second name",
        needs=_SHARED,
        c=Text(
            do="""
            struct file *file = a_file(n);
            if (file->is_unlinked || file->has_link)
                return;
            MUST(link(name_of(file->number), in_base("second%d", 1000 * me + files_made++)));
            file->has_link = 1;
            """
        ),
    ),
    Kind(
        "shared mapping of a file",
        needs=_SHARED,
        often=2,
        c=Text(
            do="""
            struct file *file = a_file(n);
            if (file->size < PAGE)
                put(file, file->size, n, PAGE - file->size);
            if (!file->mapped)
                file->mapped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
            size_t at = n / 16 % (PAGE - 100);
            fill(file->mapped + at, 100, n);
            fill(file->data + at, 100, n);
            """
        ),
        python=Text(
            do="""
            one = a_file(n, m)
            if len(one.data) < 4096:
                one.data = one.data.ljust(4096, b"m")
                one.handle.seek(0)
                one.handle.write(one.data)
            with mmap.mmap(one.handle.fileno(), 4096) as memory:
                memory[n % 4000 : n % 4000 + 50] = data_of(n, 50)
            one.data = one.data[: n % 4000] + data_of(n, 50) + one.data[n % 4000 + 50 :]
            """
        ),
    ),
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
