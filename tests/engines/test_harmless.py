"""The library that records changes to files must not harm programs: small stacks, errno, cancellation."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dmtcp_py.native
from kit.waits import LONG_S

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

NATIVE = Path(dmtcp_py.native.__file__).parent
COMPILER = shutil.which("cc")
MOST_BYTES = 512
pytestmark = [
    pytest.mark.skipif(dmtcp_py.native.built("files") is None, reason="built without a C compiler"),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler here"),
]

IN_HANDLER = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void handle(int signum)
{
    int fd = open("made", O_CREAT | O_WRONLY | O_TRUNC, 0600);
    (void)signum;
    if (write(fd, "x", 1) != 1 || close(fd) || rename("made", "moved"))
        _exit(1);
    fd = open("there", O_RDWR);
    _exit(pwrite(fd, "y", 1, 0) == 1 && !unlink("there") ? 42 : 2);
}

int main(int argc, char **argv)
{
    size_t size = 8192;
    char *low = mmap(NULL, 4096 + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack = { .ss_sp = low + 4096, .ss_size = size };
    struct sigaction action = { .sa_handler = handle, .sa_flags = SA_ONSTACK };
    if (mprotect(low, 4096, PROT_NONE) || sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &action, NULL))
        return 3;
    fclose(fopen("there", "w"));
    raise(SIGUSR1);
    return 4;
}
"""
CALLS = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static int fd;

static void *cancelled(void *what)
{
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_cancel(pthread_self());
    if (*(char *)what == 'o')
        open("made", O_CREAT | O_WRONLY, 0600);
    else if (*(char *)what == 'w')
        pwrite(fd, "x", 1, 0);
    else
        rename("made", "moved");
    return what;
}

static int is_cancelled(char *what)
{
    pthread_t thread;
    void *result;
    return !pthread_create(&thread, NULL, cancelled, what) && !pthread_join(thread, &result)
           && result == PTHREAD_CANCELED;
}

int main(void)
{
    fd = open("there", O_CREAT | O_RDWR, 0600);
    errno = 77;
    write(fd, "hello", 5);
    pwrite(fd, "j", 1, 0);
    close(open("other", O_CREAT | O_WRONLY, 0600));
    rename("other", "another");
    printf("%d\n", errno);
    errno = 0;
    printf("%d", open("missing/made", O_CREAT | O_WRONLY, 0600));
    printf(" %d\n", errno == ENOENT);
    printf("%d %d %d\n", is_cancelled("o"), is_cancelled("w"), is_cancelled("r"));
    return 0;
}
"""


def sources() -> list[str]:
    """Return the sources of the library."""
    project = (NATIVE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    module = project.partition('name = "dmtcp_py.native.files"')[2].partition("[[")[0]
    return re.findall(r'"(dmtcp_py/native/\w+\.c)"', module)


@pytest.mark.skipif(not (NATIVE.parents[1] / "pyproject.toml").exists(), reason="not a checkout")
@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3"])
def test_no_function_needs_more_than_half_a_kilobyte_of_the_stack(tmp_path: Path, level: str) -> None:
    """A signal handler may run on a stack of 8 KB, of which the kernel takes half."""
    found = {}
    for source in sources():
        target = tmp_path / Path(source).with_suffix(".o").name
        flags = [level, "-fPIC", "-fstack-usage", "-c"]
        argv = [str(COMPILER), *flags, str(NATIVE.parents[1] / source), "-o", str(target)]
        subprocess.run(argv, check=True, timeout=LONG_S)
        for line in target.with_suffix(".su").read_text(encoding="ascii").splitlines():
            where, size, how = line.split("\t")
            found[where] = int(size)
            assert how != "dynamic", f"{where} needs as much of the stack as its arguments say"
    assert found
    assert {where: size for where, size in found.items() if size > MOST_BYTES} == {}


def test_a_handler_on_a_stack_of_8_kilobytes_may_change_files(bench: Workbench, engine: EngineHere) -> None:
    if engine.name == "dmtcp":
        pytest.skip("DMTCP's own functions need more than 8 KB there, also without dmtcp-run")
    program = _compiled(bench.folder, IN_HANDLER)
    assert bench.run("-i", "0", program).returncode == 42
    assert (bench.folder / "moved").read_text() == "x"


def test_errno_and_cancellation_are_as_the_c_library_has_them(bench: Workbench, engine: EngineHere) -> None:
    program = _compiled(bench.folder, CALLS)
    plain = bench.start_plain(program)
    assert plain.wait(LONG_S) == 0
    done = bench.run("-i", "0", program)
    # DMTCP's own open() changes errno, also without dmtcp-run
    first = 1 if engine.name == "dmtcp" else 0
    assert done.stdout.splitlines()[first:] == (bench.plain / "out.txt").read_text().splitlines()[first:]


def _compiled(folder: Path, text: str) -> Path:
    (folder / "program.c").write_text(text)
    argv = [str(COMPILER), "-O1", "-w", "-pthread", "-o", "program", "program.c"]
    subprocess.run(argv, cwd=folder, check=True, timeout=LONG_S)
    return folder / "program"
