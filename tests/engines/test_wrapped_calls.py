"""Each function in the table of wrapped calls records what it does to files, and that can be undone.

The table is ``native/wrappers.def``. A program in C, compiled here, calls each of its functions by name, with the
library loaded by LD_PRELOAD and without an engine.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dmtcp_py.native
from dmtcp_py.rollback import journal, parts, recording, undo

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = dmtcp_py.native.built("files")
COMPILER = shutil.which("cc")
pytestmark = [
    pytest.mark.skipif(LIBRARY is None, reason="built without a C compiler"),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler here"),
]
TABLE = Path(dmtcp_py.native.__file__).with_name("wrappers.def")
ROW = re.compile(r"[A-Z_]+\([\w *]+, (?P<name>\w+), \(.*\), \(.*\), .+\)")
LONG_S = 60.0
DENIED = 77
"""The status of a program to which the kernel denies the call: only root opens a file by its handle."""


def rows() -> list[str]:
    """Return the names of the functions in the table; each line of it must be a row or a comment."""
    lines = re.sub(r"/\*.*?\*/", "", TABLE.read_text(encoding="ascii"), flags=re.DOTALL).splitlines()
    found = [(line, ROW.fullmatch(line)) for line in lines if line.strip()]
    assert [line for line, row in found if not row] == []
    return [row["name"] for _, row in found if row]


@dataclass(frozen=True)
class Case:
    """Some CODE that calls a function, and the entries that it makes: kinds, and patterns of paths."""

    what: str
    code: str
    entries: tuple[tuple[str, str], ...] = ()


PREAMBLE = """
#define _GNU_SOURCE
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(what) do { if (!(what)) { perror(#what); exit(1); } } while (0)
#define FAILS(what) MUST((what) < 0)
enum { DENIED = 77 };

extern char **environ;
int __open(const char *path, int flags, ...);
int __open64(const char *path, int flags, ...);
ssize_t __write(int fd, const void *data, size_t size);
ssize_t __pwrite64(int fd, const void *data, size_t size, off_t at);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

static int in;   /* the descriptor of "folder" */
static int held; /* of "file", for reading and writing, opened by nobody who is watched */
static struct iovec parts[] = { { "X", 1 }, { "YZ", 2 } };

static void put(int fd)
{
    MUST(fd >= 0 && write(fd, "x", 1) == 1 && !close(fd));
}

static void put_stream(FILE *file)
{
    MUST(file && fputs("x", file) >= 0 && !fclose(file));
}

static int filled_pipe(void)
{
    int ends[2];
    MUST(!pipe(ends) && write(ends[1], "XYZ", 3) == 3);
    return ends[0];
}

/* Write to what is mapped, if it could be. */
static void set(char *memory)
{
    MUST(memory != MAP_FAILED);
    memory[3] = 'X';
    MUST(!munmap(memory, 11));
}

static int appends(void)
{
    int fd = open("file", O_WRONLY | O_APPEND);
    MUST(fd >= 0);
    return fd;
}

static int bound(const char *name, size_t length)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memcpy(address.sun_path, name, length);
    return bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address,
                offsetof(struct sockaddr_un, sun_path) + length);
}

static int bound_to_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    return bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address);
}

/* Open PATH in a child, after it changed to the folder NAME, and by a descriptor to FOLDER. */
static void spawn_in(const char *name, const char *folder, const char *path, int flags)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status;
    MUST(!posix_spawn_file_actions_init(&actions));
    MUST(!name || !posix_spawn_file_actions_addchdir_np(&actions, name));
    MUST(!folder || !posix_spawn_file_actions_addfchdir_np(&actions, open(folder, O_RDONLY)));
    MUST(!posix_spawn_file_actions_addopen(&actions, 5, path, flags, 0600));
    MUST(!posix_spawn(&child, "/bin/true", &actions, NULL, (char *[]){ "true", NULL }, environ));
    MUST(waitpid(child, &status, 0) == child && !status);
    MUST(!posix_spawn_file_actions_destroy(&actions));
}

static void spawn_with(const char *path, int flags)
{
    spawn_in(NULL, NULL, path, flags);
}

static int open_by_handle(const char *path, int flags)
{
    struct { struct file_handle handle; char rest[128]; } found = { .handle.handle_bytes = 128 };
    int mount, fd;
    MUST(!name_to_handle_at(AT_FDCWD, path, &found.handle, &mount, 0));
    fd = open_by_handle_at(in, &found.handle, flags);
    if (fd < 0 && errno == EPERM)
        exit(DENIED);
    return fd;
}

static void use_unnamed(FILE *file)
{
    char text[2] = "";
    MUST(file && fputs("x", file) >= 0);
    rewind(file);
    MUST(fgets(text, sizeof text, file) && !strcmp(text, "x"));
}
"""
"""What the cases have in common."""


def _opens(call: Callable[[str, str], str], folder: str = "") -> list[Case]:
    """Return the cases of an open() that CALL writes, given a path and what follows it."""
    return [
        Case("make", f"put({call('made', 'O_WRONLY | O_CREAT, 0600')});", (("C", folder + "made"),)),
        Case("make once", f"put({call('made', 'O_WRONLY | O_CREAT | O_EXCL, 0600')});", (("C", folder + "made"),)),
        Case("make behind a link", f"put({call('dangling', 'O_RDWR | O_CREAT, 0600')});", (("C", folder + "nowhere"),)),
        Case("write", f"put({call('file', 'O_RDWR')});", (("F", folder + "file"),)),
        Case("write through a link", f"put({call('link', 'O_WRONLY')});", (("F", folder + "file"),)),
        Case("write an empty file", f"put({call('empty', 'O_WRONLY')});", (("A", folder + "empty"),)),
        Case("cut", f"put({call('file', 'O_WRONLY | O_TRUNC')});", (("F", folder + "file"),)),
        Case("append", f"put({call('file', 'O_WRONLY | O_APPEND')});", (("A", folder + "file"),)),
        Case("append twice", 2 * f"put({call('file', 'O_WRONLY | O_APPEND')});", (("A", folder + "file"),)),
        Case("read", f"MUST({call('file', 'O_RDONLY')} >= 0);"),
        Case("find only", f"MUST({call('file', 'O_PATH')} >= 0);"),
        Case("make what exists", f"FAILS({call('file', 'O_WRONLY | O_CREAT | O_EXCL, 0600')});"),
        Case("write what is missing", f"FAILS({call('missing', 'O_WRONLY')});"),
        # some file systems have none
        Case("have no name", f"close({call('.', 'O_RDWR | O_TMPFILE, 0600')});"),
    ]


def _fortified(call: Callable[[str, str], str], folder: str = "") -> list[Case]:
    return [
        Case("write", f"put({call('file', 'O_WRONLY')});", (("F", folder + "file"),)),
        Case("read", f"MUST({call('file', 'O_RDONLY')} >= 0);"),
    ]


def _creates(name: str) -> list[Case]:
    return [
        Case("make", f'put({name}("made", 0600));', (("C", "made"),)),
        Case("cut", f'put({name}("file", 0600));', (("F", "file"),)),
    ]


def _opens_stream(call: Callable[[str, str], str]) -> list[Case]:
    return [
        Case("make", f"put_stream({call('made', 'w')});", (("C", "made"),)),
        Case("make once", f"put_stream({call('made', 'wx')});", (("C", "made"),)),
        Case("make by appending", f"put_stream({call('made', 'a')});", (("C", "made"),)),
        Case("cut", f"put_stream({call('file', 'w')});", (("F", "file"),)),
        Case("write", f"put_stream({call('file', 'r+')});", (("F", "file"),)),
        Case("append", f"put_stream({call('file', 'a')});", (("A", "file"),)),
        Case("read", f"MUST({call('file', 'r')});"),
    ]


def _cuts(name: str, before: str = "", after: str = "") -> list[Case]:
    """Return the cases of a NAME that cuts an open file, with arguments BEFORE and AFTER."""
    return [
        Case("cut in append mode", f"{name}(appends(), {before}1{after});", (("A", "file"), ("R", "file"))),
        Case("cut what was open", f"{name}(held, {before}1{after});", (("R", "file"),)),
        Case("cut", f'int fd = open("file", O_RDWR); {name}(fd, {before}1{after});', (("F", "file"),)),
    ]


def _moves(call: Callable[[str, str], str], folder: str = "") -> list[Case]:
    file, bare = f"{folder}file", f"{folder}folder"
    return [
        Case("move", f"MUST(!{call('file', 'new')});", (("F", file), ("C", "new"))),
        Case("replace", f"MUST(!{call('file', 'other')});", (("F", file), ("F", "other"))),
        Case("move a folder", f"MUST(!{call('folder', 'new')});", (("C", "new"), ("M", bare))),
        Case("move what is missing", f"FAILS({call('missing', 'new')});"),
    ]


def _makes_name(call: Callable[[str], str], folder: str = "", also: tuple[tuple[str, str], ...] = ()) -> list[Case]:
    return [
        Case("make", f"MUST(!{call('made')});", (("C", folder + "made"), *also)),
        Case("make what exists", f"FAILS({call('file')});", also),
    ]


def _links(call: Callable[[str], str], folder: str = "") -> list[Case]:
    """Return the cases of a CALL that gives a file another name: its size is noted by the one that it has."""
    return _makes_name(call, folder, (("A", "other"),))


def _removes(call: Callable[[str], str], folder: str = "") -> list[Case]:
    return [
        Case("a file", f"MUST(!{call('file')});", (("F", folder + "file"),)),
        Case("an empty file", f"MUST(!{call('empty')});", (("A", folder + "empty"),)),
        Case("a link", f"MUST(!{call('link')});", (("F", folder + "link"),)),
        Case("a pipe", f"MUST(!{call('pipe')});", (("P", folder + "pipe"),)),
        Case("what is missing", f"FAILS({call('missing')});"),
    ]


def _makes_temporary(call: str, pattern: str) -> list[Case]:
    made = f'char made[] = "./{pattern.replace("?", "X")}";'
    return [
        Case("make", f"{made} put({call});", (("C", pattern),)),
        Case("fail", f'char made[] = "missing/{pattern.replace("?", "X")}"; FAILS({call});'),
    ]


def _writes(write: Callable[[str], str]) -> list[Case]:
    """Return the cases of a call that WRITEs 3 bytes to a descriptor, from its place on or at its offset 3."""
    return [
        Case("overwrite", f"MUST(lseek(held, 3, SEEK_SET) == 3); MUST({write('held')} >= 0);", (("R", "file"),)),
        Case("overwrite twice", f"{write('held')}; {write('held')};", (("R", "file"),)),
        Case("what is not open", f"FAILS({write('77')});"),
    ]


def _maps(name: str) -> list[Case]:
    arguments = "NULL, 11, PROT_READ | PROT_WRITE"
    return [
        Case("shared", f"set({name}({arguments}, MAP_SHARED, held, 0));", (("R", "file"),)),
        Case(
            "in append mode",
            f'set({name}({arguments}, MAP_SHARED, open("file", O_RDWR | O_APPEND), 0));',
            (("A", "file"), ("R", "file")),
        ),
        Case("private", f"set({name}({arguments}, MAP_PRIVATE, held, 0));"),
        Case("no file", f"set({name}({arguments}, MAP_SHARED | MAP_ANONYMOUS, -1, 0));"),
    ]


def _asks(name: str, record: str) -> list[Case]:
    code = f"""
    struct {record} order = {{ .aio_fildes = held, .aio_offset = 3, .aio_buf = "X", .aio_nbytes = 1 }};
    MUST(!{name}(&order));
    while (aio_error((struct aiocb *)&order) == EINPROGRESS)
        usleep(1000);
    MUST(aio_return((struct aiocb *)&order) == 1);
"""
    return [Case("overwrite", code, (("R", "file"),))]


CASES: dict[str, list[Case]] = {
    "__open": _opens(lambda path, rest: f'__open("{path}", {rest})'),
    "__open64": _opens(lambda path, rest: f'__open64("{path}", {rest})'),
    "write": [
        *_writes(lambda fd: f'write({fd}, "XYZ", 3)'),
        Case("past the end", 'MUST(lseek(held, 0, SEEK_END) == 11); write(held, "X", 0);'),
        Case("a pipe", "filled_pipe();"),
        Case(
            "no longer in append mode",
            "int fd = appends(); MUST(!fcntl(fd, F_SETFL, 0) && lseek(fd, 2, SEEK_SET) == 2); put(fd);",
            (("A", "file"), ("R", "file")),
        ),
    ],
    "__write": _writes(lambda fd: f'__write({fd}, "XYZ", 3)'),
    "pwrite": _writes(lambda fd: f'pwrite({fd}, "XYZ", 3, 3)'),
    "pwrite64": _writes(lambda fd: f'pwrite64({fd}, "XYZ", 3, 3)'),
    "__pwrite64": _writes(lambda fd: f'__pwrite64({fd}, "XYZ", 3, 3)'),
    "writev": _writes(lambda fd: f"writev({fd}, parts, 2)"),
    "pwritev": _writes(lambda fd: f"pwritev({fd}, parts, 2, 3)"),
    "pwritev64": _writes(lambda fd: f"pwritev64({fd}, parts, 2, 3)"),
    "pwritev2": _writes(lambda fd: f"pwritev2({fd}, parts, 2, -1, 0)"),
    "pwritev64v2": _writes(lambda fd: f"pwritev64v2({fd}, parts, 2, 3, 0)"),
    "sendfile": _writes(lambda fd: f'sendfile({fd}, open("other", O_RDONLY), NULL, 3)'),
    "sendfile64": _writes(lambda fd: f'sendfile64({fd}, open("other", O_RDONLY), NULL, 3)'),
    "splice": _writes(lambda fd: f"splice(filled_pipe(), NULL, {fd}, &(off_t){{ 3 }}, 3, 0)"),
    "copy_file_range": _writes(
        lambda fd: f'copy_file_range(open("other", O_RDONLY), NULL, {fd}, &(off_t){{ 3 }}, 3, 0)'
    ),
    "aio_write": _asks("aio_write", "aiocb"),
    "aio_write64": _asks("aio_write64", "aiocb64"),
    "mmap": _maps("mmap"),
    "mmap64": _maps("mmap64"),
    "open": _opens(lambda path, rest: f'open("{path}", {rest})'),
    "open64": _opens(lambda path, rest: f'open64("{path}", {rest})'),
    "openat": _opens(lambda path, rest: f'openat(in, "{path}", {rest})', "folder/"),
    "openat64": _opens(lambda path, rest: f'openat64(in, "{path}", {rest})', "folder/"),
    "__open_2": _fortified(lambda path, rest: f'__open_2("{path}", {rest})'),
    "__open64_2": _fortified(lambda path, rest: f'__open64_2("{path}", {rest})'),
    "__openat_2": _fortified(lambda path, rest: f'__openat_2(in, "{path}", {rest})', "folder/"),
    "__openat64_2": _fortified(lambda path, rest: f'__openat64_2(in, "{path}", {rest})', "folder/"),
    "creat": _creates("creat"),
    "creat64": _creates("creat64"),
    "fopen": _opens_stream(lambda path, mode: f'fopen("{path}", "{mode}")'),
    "fopen64": _opens_stream(lambda path, mode: f'fopen64("{path}", "{mode}")'),
    "freopen": _opens_stream(lambda path, mode: f'freopen("{path}", "{mode}", stdin)'),
    "freopen64": _opens_stream(lambda path, mode: f'freopen64("{path}", "{mode}", stdin)'),
    "posix_spawn_file_actions_addopen": [
        Case("make", 'spawn_with("made", O_WRONLY | O_CREAT);', (("C", "made"),)),
        Case("append", 'spawn_with("file", O_WRONLY | O_APPEND);', (("A", "file"),)),
        Case("cut", 'spawn_with("file", O_WRONLY | O_TRUNC);', (("F", "file"),)),
        Case("read", 'spawn_with("file", O_RDONLY);'),
        Case("in a folder", 'spawn_in("folder", NULL, "made", O_WRONLY | O_CREAT);', (("C", "folder/made"),)),
        Case("in one below", 'spawn_in("folder", ".", "made", O_WRONLY | O_CREAT);', (("C", "made"),)),
        Case("in two", 'spawn_in("folder", "folder", "folder/x", O_WRONLY | O_CREAT);', (("C", "folder/folder/x"),)),
        Case("elsewhere", 'spawn_in("folder", NULL, "../file", O_WRONLY | O_APPEND);', (("A", "file"),)),
    ],
    "setmntent": _opens_stream(lambda path, mode: f'setmntent("{path}", "{mode}")'),
    "open_by_handle_at": [
        Case("append", 'put(open_by_handle("file", O_WRONLY | O_APPEND));', (("A", "file"),)),
        Case("cut", 'put(open_by_handle("file", O_WRONLY | O_TRUNC));', (("F", "file"),)),
        Case("read", 'MUST(open_by_handle("file", O_RDONLY) >= 0);'),
    ],
    "bind": [
        Case("to a name", 'MUST(!bound("socket", sizeof "socket"));', (("C", "socket"),)),
        Case("to a name that exists", 'FAILS(bound("file", sizeof "file"));'),
        Case("to an abstract name", "MUST(!bound((char[]){ 0, (char)getpid(), (char)(getpid() >> 8), 1 }, 4));"),
        Case("to a port", "MUST(!bound_to_port());"),
    ],
    "truncate": [
        Case("cut", 'MUST(!truncate("file", 1));', (("F", "file"),)),
        Case("cut what is missing", 'FAILS(truncate("missing", 1));'),
    ],
    "truncate64": [
        Case("cut", 'MUST(!truncate64("file", 1));', (("F", "file"),)),
        Case("cut what is missing", 'FAILS(truncate64("missing", 1));'),
    ],
    "ftruncate": _cuts("ftruncate"),
    "ftruncate64": _cuts("ftruncate64"),
    # not every file system punches holes
    "fallocate": [
        *_cuts("fallocate", "FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, "),
        Case("grow", "fallocate(appends(), 0, 0, 100);", (("A", "file"),)),
    ],
    "fallocate64": [
        *_cuts("fallocate64", "FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, "),
        Case("grow", "fallocate64(appends(), 0, 0, 100);", (("A", "file"),)),
    ],
    "rename": _moves(lambda old, new: f'rename("{old}", "{new}")'),
    "renameat": _moves(lambda old, new: f'renameat(in, "{old}", AT_FDCWD, "{new}")', "folder/"),
    "renameat2": [
        *_moves(lambda old, new: f'renameat2(in, "{old}", AT_FDCWD, "{new}", 0)', "folder/"),
        Case(
            "exchange",
            'MUST(!renameat2(in, "file", AT_FDCWD, "other", RENAME_EXCHANGE));',
            (("F", "folder/file"), ("F", "other")),
        ),
    ],
    "link": _links(lambda path: f'link("other", "{path}")'),
    "linkat": _links(lambda path: f'linkat(AT_FDCWD, "other", in, "{path}", 0)', "folder/"),
    "symlink": _makes_name(lambda path: f'symlink("anywhere", "{path}")'),
    "symlinkat": _makes_name(lambda path: f'symlinkat("anywhere", in, "{path}")', "folder/"),
    "unlink": _removes(lambda path: f'unlink("{path}")'),
    "unlinkat": [
        *_removes(lambda path: f'unlinkat(in, "{path}", 0)', "folder/"),
        Case("a folder", 'MUST(!unlinkat(in, "folder", AT_REMOVEDIR));', (("D", "folder/folder"),)),
    ],
    "rmdir": [
        Case("a folder", 'MUST(!rmdir("folder/folder"));', (("D", "folder/folder"),)),
        Case("what is missing", 'FAILS(rmdir("missing"));'),
    ],
    "remove": [
        *_removes(lambda path: f'remove("{path}")'),
        Case("a folder", 'MUST(!remove("folder/folder"));', (("D", "folder/folder"),)),
    ],
    "mkdir": _makes_name(lambda path: f'mkdir("{path}", 0700)'),
    "mkdirat": _makes_name(lambda path: f'mkdirat(in, "{path}", 0700)', "folder/"),
    "mkfifo": _makes_name(lambda path: f'mkfifo("{path}", 0600)'),
    "mkfifoat": _makes_name(lambda path: f'mkfifoat(in, "{path}", 0600)', "folder/"),
    "mknod": _makes_name(lambda path: f'mknod("{path}", S_IFREG | 0600, 0)'),
    "mknodat": _makes_name(lambda path: f'mknodat(in, "{path}", S_IFREG | 0600, 0)', "folder/"),
    "mkstemp": _makes_temporary("mkstemp(made)", "t-??????"),
    "mkstemp64": _makes_temporary("mkstemp64(made)", "t-??????"),
    "mkostemp": _makes_temporary("mkostemp(made, O_APPEND)", "t-??????"),
    "mkostemp64": _makes_temporary("mkostemp64(made, O_APPEND)", "t-??????"),
    "mkstemps": _makes_temporary("mkstemps(made, 2)", "t-??????.c"),
    "mkstemps64": _makes_temporary("mkstemps64(made, 2)", "t-??????.c"),
    "mkostemps": _makes_temporary("mkostemps(made, 2, O_APPEND)", "t-??????.c"),
    "mkostemps64": _makes_temporary("mkostemps64(made, 2, O_APPEND)", "t-??????.c"),
    "mkdtemp": [
        Case("make", 'char made[] = "d-XXXXXX"; MUST(mkdtemp(made));', (("C", "d-??????"),)),
        Case("fail", 'char made[] = "missing/d-XXXXXX"; MUST(!mkdtemp(made));'),
    ],
    "tmpfile": [Case("have no name", "use_unnamed(tmpfile());")],
    "tmpfile64": [Case("have no name", "use_unnamed(tmpfile64());")],
    # recorded under DMTCP only, see test_what_a_program_makes_after_a_checkpoint_is_new_when_it_makes_it_again
    "msgget": [Case("make", "MUST(!msgctl(msgget(getpid(), IPC_CREAT | 0600), IPC_RMID, NULL));")],
    "semget": [Case("make", "MUST(!semctl(semget(getpid(), 1, IPC_CREAT | 0600), 0, IPC_RMID));")],
    "shmget": [Case("make", "MUST(!shmctl(shmget(getpid(), 1, IPC_CREAT | 0600), IPC_RMID, NULL));")],
}
ALL = [(name, case) for name, cases in CASES.items() for case in cases]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the program; its argument is the number of a case."""
    folder = tmp_path_factory.mktemp("calls")
    functions = "".join(f"static void case_{i}(void) {{ {case.code} }}\n" for i, (_, case) in enumerate(ALL))
    names = ", ".join(f"case_{i}" for i in range(len(ALL)))
    main = f"""
int main(int argc, char **argv)
{{
    static void (*const cases[])(void) = {{ {names} }};
    MUST(argc == 3);
    held = atoi(argv[2]);
    in = open("folder", O_RDONLY | O_DIRECTORY);
    cases[atoi(argv[1])]();
    return 0;
}}
"""
    (folder / "calls.c").write_text(PREAMBLE + functions + main)
    # optimised or fortified, a call may become one of another function
    argv = [str(COMPILER), "-O0", "-U_FORTIFY_SOURCE", "-w", "-o", "calls", "calls.c"]
    subprocess.run(argv, cwd=folder, check=True, timeout=LONG_S)
    return folder / "calls"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Make the folder that the calls change; it holds the same below ``folder``."""
    work = tmp_path / "work"
    for folder in (work, work / "folder"):
        folder.mkdir()
        for name in ("file", "other"):
            (folder / name).write_text(f"{name} before")
        (folder / "empty").touch()
        (folder / "link").symlink_to("file")
        (folder / "dangling").symlink_to("nowhere")
        os.mkfifo(folder / "pipe")
    (work / "folder" / "folder").mkdir()
    return work


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Begin a journal, in which the part of a checkpoint is written to, and return its folder."""
    (tmp_path / "job").mkdir()
    root = tmp_path / "job" / "undo"
    recording.begin(root)
    recording.make_ready(root)
    parts.begin_next(root)
    return root


def _content(path: Path) -> object:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return os.readlink(path)
    return path.read_bytes() if stat.S_ISREG(mode) else stat.S_IFMT(mode)


def _tree(work: Path) -> dict[str, object]:
    return {str(path.relative_to(work)): _content(path) for path in sorted(work.rglob("*"))}


@pytest.mark.parametrize("number", range(len(ALL)), ids=[f"{name}: {case.what}" for name, case in ALL])
def test_a_wrapped_call_records_what_it_changes_and_that_is_undone(
    program: Path, work: Path, root: Path, number: int
) -> None:
    _, case = ALL[number]
    part, before = os.readlink(root / parts.NOW), _tree(work)
    environ = {**os.environ, "LD_PRELOAD": str(LIBRARY), recording.VARIABLE: str(root)}
    held = os.open(work / "file", os.O_RDWR)
    try:
        argv, where = [program, str(number), str(held)], {"cwd": work, "env": environ, "pass_fds": [held]}
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, check=False, timeout=LONG_S, **where)
    finally:
        os.close(held)
    if done.returncode == DENIED and os.geteuid() != 0:
        pytest.skip("only root may make this call")
    assert done.returncode == 0
    found = journal.read_entries(root / part)
    assert [entry.kind for entry in found] == [kind for kind, _ in case.entries]
    for entry, (_, pattern) in zip(found, case.entries, strict=True):
        assert fnmatchcase(str(entry.path.relative_to(work)), pattern)
    if not case.entries:
        assert _tree(work) == before
    undo.undo(root, part, accept=False, warn=lambda _: None)
    assert _tree(work) == before


def test_each_row_of_the_table_has_cases_that_call_its_function(program: Path) -> None:
    """And the program is linked to each: none was replaced by the compiler or by a macro."""
    names = rows()
    assert len(names) == len(set(names))
    assert sorted(CASES) == sorted(names)
    assert set(names) <= _symbols(program, "--undefined-only")


def test_the_library_exports_the_functions_of_the_table_and_those_that_make_it_a_plugin() -> None:
    assert LIBRARY is not None
    others = {"dmtcp_initialize_plugin", "dmtcp_register_plugin", "dlopen", "syscall"}
    semaphores = {"semctl", "semop", "semtimedop"}
    spawn = {name for name in _symbols(LIBRARY, "--defined-only") if name.startswith("posix_spawn_file_actions_")}
    assert _symbols(LIBRARY, "--defined-only") == {*rows(), *others, *semaphores, *spawn}


DEEP = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int change(void)
{
    FILE *made = fopen("made", "w");
    int fd = open("file", O_WRONLY), failed = pwrite(fd, "X", 1, 2) != 1 || fputs("x", made) < 0 || fclose(made);
    return failed || rename("other", "another") || close(fd);
}
"""
OPENS_DEEP = """
#define _GNU_SOURCE
#include <dlfcn.h>
int main(int argc, char **argv)
{
    void *library = argc == 2 ? dlopen(argv[1], RTLD_LAZY | RTLD_DEEPBIND) : 0;
    return library ? ((int (*)(void))dlsym(library, "change"))() : 9;
}
"""


@pytest.mark.parametrize("bound", ["-Wl,-z,lazy", "-Wl,-z,now"])
def test_what_a_library_does_that_binds_to_the_c_library_before_all_others_is_undone(
    tmp_path: Path, work: Path, root: Path, bound: str
) -> None:
    (tmp_path / "deep.c").write_text(DEEP)
    (tmp_path / "opens.c").write_text(OPENS_DEEP)
    for words in (["-shared", "-fPIC", bound, "-o", "deep.so", "deep.c"], ["-o", "opens", "opens.c", "-ldl"]):
        subprocess.run([str(COMPILER), "-w", *words], cwd=tmp_path, check=True, timeout=LONG_S)
    part, before = os.readlink(root / parts.NOW), _tree(work)
    environ = {**os.environ, "LD_PRELOAD": str(LIBRARY), recording.VARIABLE: str(root)}
    argv = [tmp_path / "opens", tmp_path / "deep.so"]
    subprocess.run(argv, cwd=work, env=environ, check=True, timeout=LONG_S)
    assert _tree(work) != before
    undo.undo(root, part, accept=False, warn=lambda _: None)
    assert _tree(work) == before


def _symbols(path: Path, which: str) -> set[str]:
    argv = ["nm", "--dynamic", "--format=posix", which, str(path)]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=LONG_S).stdout.splitlines()
    return {line.split()[0].partition("@")[0] for line in lines}
