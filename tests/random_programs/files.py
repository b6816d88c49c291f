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
)
