"""Programs whose libraries do something as soon as they are loaded: start threads, fork, or open what lasts."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

COUNTING = """
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
static atomic_long counts[2];
static void *work(void *which)
{
    for (;;) {
        counts[(long)which]++;
        usleep(1000);
    }
    return NULL;
}
__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;
    for (long i = 0; i < 2; i++)
        pthread_create(&thread, NULL, work, (void *)i);
}
static int moves(int which)
{
    long before = counts[which];
    for (int tries = 0; counts[which] == before && tries < 10000; tries++)
        usleep(1000);
    return counts[which] != before;
}
int is_well(void) { return moves(0) && moves(1); }
"""
JOINED = """
#include <pthread.h>
static int value;
static void *work(void *unused) { value = 1; return unused; }
__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;
    if (!pthread_create(&thread, 0, work, 0))
        pthread_join(thread, 0);
}
int is_well(void) { return value; }
"""
FORKED = """
#include <sys/wait.h>
#include <unistd.h>
static int status;
__attribute__((constructor)) static void begin(void)
{
    pid_t child = fork();
    if (!child)
        _exit(7);
    waitpid(child, &status, 0);
}
int is_well(void) { return WIFEXITED(status) && WEXITSTATUS(status) == 7; }
"""
EXECUTED = """
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern char **environ;
__attribute__((constructor)) static void begin(int argc, char **argv)
{
    if (argc && !getenv("IS_SECOND")) {
        setenv("IS_SECOND", "1", 1);
        execv("/proc/self/exe", argv);
    }
}
int is_well(void) { return getenv("IS_SECOND") != NULL; }
"""
BY_NUMBER = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
static int opened, mapped, fd;
int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    opened = 1;
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
void *mmap(void *at, size_t size, int protection, int flags, int file, off_t start)
{
    mapped = 1;
    return (void *)syscall(SYS_mmap, at, size, protection, flags, file, start);
}
__attribute__((constructor)) static void begin(void)
{
    fd = open("/dev/null", O_RDWR, 0);
    mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
int is_well(void) { return opened && mapped && fcntl(fd, F_GETFL) >= 0; }
"""
OPENED = """
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
static int ends[2], pair[2], polled, counted;
static volatile sig_atomic_t rung;
static void ring(int unused) { (void)unused; rung = 1; }
__attribute__((constructor)) static void begin(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3};
    struct itimerspec each = {{0, 20000000}, {0, 20000000}};
    struct epoll_event wanted = {.events = EPOLLIN};
    timer_t timer;
    pipe(ends);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    polled = epoll_create1(0);
    counted = eventfd(0, 0);
    epoll_ctl(polled, EPOLL_CTL_ADD, counted, &wanted);
    signal(SIGRTMIN + 3, ring);
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &each, NULL);
}
static int carries(int from, int to)
{
    char got = 0;
    return write(from, "x", 1) == 1 && read(to, &got, 1) == 1 && got == 'x';
}
int is_well(void)
{
    unsigned long long one = 1;
    struct epoll_event got;
    rung = 0;
    for (int tries = 0; !rung && tries < 10000; tries++)
        usleep(1000);
    return rung && carries(ends[1], ends[0]) && carries(pair[0], pair[1]) && write(counted, &one, 8) == 8 &&
           epoll_wait(polled, &got, 1, 1000) == 1 && read(counted, &one, 8) == 8 && one == 1;
}
"""
OPENMP = """
static int team;
static int count(void)
{
    int found = 0;
#pragma omp parallel num_threads(4) reduction(+ : found)
    found++;
    return found;
}
__attribute__((constructor)) static void begin(void) { team = count(); }
int is_well(void) { return team == 4 && count() == 4; }
"""
OWN_GETTID = """
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
pid_t gettid(void) { return syscall(SYS_gettid); } /* as it was before the C library had one */
int main(void) { return gettid() == getpid() ? 3 : 4; }
"""
QUIET = "int was_first; __attribute__((constructor)) static void begin(void) { was_first = 1; }"
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int is_well(void);
int main(int count, char **words)
{
    for (int step = 0; step < atoi(words[count - 1]); step++) {
        int well = is_well();
        struct timespec left = {0, 100000000};
        while (nanosleep(&left, &left))
            ;
        printf("%d %s\\n", step, well ? "well" : "BROKEN");
        fflush(stdout);
    }
    puts("done");
    return 3;
}
"""
BLAS = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
enum { SIZE = 400, ALL = SIZE * SIZE };
void cblas_dgemm(int, int, int, int, int, int, double, const double *, int, const double *, int, double, double *, int);
static double a[ALL], b[ALL], c[ALL];
int main(int count, char **words)
{
    for (unsigned i = 0; i < ALL; i++) {
        a[i] = i * 7919 % 1000 / 1000. - .5;
        b[i] = i * 104729 % 1000 / 1000. - .5;
    }
    for (int step = 0; step < atoi(words[count - 1]); step++) {
        double sum = 0;
        cblas_dgemm(101, 111, 111, SIZE, SIZE, SIZE, 10. / SIZE, a, SIZE, b, SIZE, 0, c, SIZE);
        for (int i = 0; i < ALL; i++) {
            sum += c[i] * c[i];
            b[i] = c[i];
        }
        printf("%d %.17g\\n", step, sum);
        fflush(stdout);
        usleep(100000);
    }
    puts("done");
    return 3;
}
"""
TBB = """
#include <tbb/parallel_for.h>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>
#include <vector>
static std::vector<double> first(1000);
static bool is_filled = (tbb::parallel_for(0, 1000, [](int i) { first[i] = i; }), true);
int main(int count, char **words)
{
    for (int step = 0; step < std::atoi(words[count - 1]); step++) {
        std::vector<double> found(100000);
        tbb::parallel_for(0, 100000, [&](int i) { found[i] = i * first[i % 1000] + step; });
        double sum = 0;
        for (double one : found)
            sum += one;
        std::printf("%d %.17g\\n", step, sum);
        std::fflush(stdout);
        usleep(100000);
    }
    std::puts("done");
    return is_filled ? 3 : 4;
}
"""
R_MATRICES = """
steps <- as.integer(commandArgs(trailingOnly = TRUE)[1])
set.seed(20)
a <- matrix(rnorm(160000), 400); x <- a
for (step in seq_len(steps)) {
  x <- a %*% x; x <- x / max(abs(x))
  if (step %% 20 == 1) {
    said <- system(paste("echo child", step), intern = TRUE)
  }
  cat(sprintf("%s %.15g\\n", said, sum(x)))
  Sys.sleep(0.1)
}
quit(status = 3)
"""
OCTAVE_MATRICES = """
steps = str2double (argv (){1});
a = reshape (mod ((1:160000) * 7919, 1000), 400, 400) / 1000 - 0.5;
x = a;
for step = 1:steps
  x = a * x; x = x / max (abs (x(:)));
  if mod (step, 20) == 1
    [status, said] = system (sprintf ("echo child %d", step));
  end
  printf ("%s %d %.15g\\n", strtrim (said), status, sum (x(:)));
  fflush (stdout);
  pause (0.1);
end
exit (3);
"""
"""They start processes at times only: while one does so all the time, DMTCP cannot be asked for a checkpoint."""
JEMALLOC = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
const char *malloc_conf = "background_thread:true";
int main(int count, char **words)
{
    void *kept[100] = {0};
    for (int step = 0; step < atoi(words[count - 1]); step++) {
        for (int i = 0; i < 100; i++) {
            free(kept[i]);
            kept[i] = malloc(1000 * (i + step % 7));
        }
        printf("%d\\n", step);
        fflush(stdout);
        usleep(100000);
    }
    puts("done");
    return 3;
}
"""
CONSTRUCTORS = {
    "threads that go on": (COUNTING, ()),
    "a thread that is joined": (JOINED, ()),
    "a child": (FORKED, ()),
    "an exec": (EXECUTED, ()),
    "calls by their numbers": (BY_NUMBER, ()),
    "descriptors and a timer": (OPENED, ()),
    "a team of OpenMP": (OPENMP, ("-fopenmp",)),
}
STEPS = "60"
_needs_compiler = pytest.mark.skipif(built("first") is None, reason="there was no compiler at the installation")
pytestmark = [
    _needs_compiler,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler on this machine"),
]


@pytest.fixture(autouse=True)
def _nothing_left(bench: Workbench) -> Iterator[None]:
    yield
    for process in bench.started:
        if process.poll() is None:
            kill_all(process)


def _compile(folder: Path, name: str, text: str, *options: str) -> Path:
    """Compile TEXT to FOLDER/NAME; skip where the compiler cannot do it for want of a library."""
    is_library, is_c = name.endswith(".so"), "std::" not in text
    source = folder / f"{name}.{'c' if is_c else 'cpp'}"
    source.write_text(text)
    kind = ["-shared", "-fPIC"] if is_library else []
    compiler = "gcc" if is_c else "g++"
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not on this machine")
    argv = [compiler, "-O1", "-w", *kind, "-o", folder / name, source, *options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LONG_S, check=False)
    if done.returncode:
        pytest.skip(f"this does not compile here: {done.stderr.splitlines()[0]}")
    return folder / name


def _with_library(folder: Path, text: str, *options: str, more: tuple[str, ...] = ()) -> list[str | Path]:
    """Return the line of a program that is linked with a library of this TEXT."""
    _compile(folder, "libsubject.so", text, *options)
    found = ["-L", str(folder), f"-Wl,-rpath,{folder}", "-Wl,--no-as-needed", "-lsubject", *more]
    return [_compile(folder, "subject", MAIN, *found), STEPS]


def _comes_through(bench: Workbench, *program: str | Path) -> None:
    """Let PROGRAM be killed, resume, be killed again, resume, and end as if nothing had happened."""
    plain = bench.start_plain(*program)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    for life in range(2):
        process = bench.start(*line)
        if life:
            bench.wait_said("resumed generation", process)
            bench.wait_lines(3, process)
        bench.wait_generations(1, process)
        assert process.poll() is None, (bench.folder / "stderr.txt").read_text()
        kill_all(process)
    assert bench.run(*line).returncode == plain.wait(LONG_S) == 3
    # 3.2 fails now and then where a process starts in a checkpoint, with any library, and recovers
    assert bench.events.count("resumed") >= 2
    bench.assert_same("out.txt")


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
def test_a_program_with_a_library_that_does_this_when_it_is_loaded_comes_through(
    bench: Workbench, engine: EngineHere, constructor: str
) -> None:
    assert engine
    text, options = CONSTRUCTORS[constructor]
    _comes_through(bench, *_with_library(bench.folder.parent, text, *options))


def test_a_library_that_starts_threads_comes_through_beside_one_that_the_loader_is_to_run_first(
    bench: Workbench, engine: EngineHere
) -> None:
    """Of several that ask for that, the loader hears one, and it is not ours."""
    assert engine
    folder = bench.folder.parent
    _compile(folder, "libquiet.so", QUIET, "-Wl,-z,initfirst")
    _comes_through(bench, *_with_library(folder, COUNTING, more=("-lquiet",)))


def test_a_program_with_a_gettid_of_its_own_starts(bench: Workbench, one_dmtcp: EngineHere) -> None:
    """DMTCP's locks call it while functions are looked up, and it calls syscall()."""
    program = _compile(bench.folder.parent, "own", OWN_GETTID)
    assert bench.run("--engine", one_dmtcp.name, "-i", "0", program).returncode == 3


def test_a_program_linked_with_openblas_comes_through(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    _comes_through(bench, _compile(bench.folder.parent, "blas", BLAS, "-l:libopenblas.so.0"), STEPS)


def test_a_program_with_threads_of_tbb_comes_through(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    _comes_through(bench, _compile(bench.folder.parent, "tbb", TBB, "-ltbb"), STEPS)


@pytest.mark.parametrize(
    ("command", "text"), [("Rscript", R_MATRICES), ("octave-cli", OCTAVE_MATRICES)], ids=["R", "Octave"]
)
def test_matrices_of_a_language_on_threads_beside_its_children_come_through(
    bench: Workbench, engine: EngineHere, command: str, text: str
) -> None:
    assert engine
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not on this machine")
    script = bench.folder.parent / "script"
    script.write_text(text)
    _comes_through(bench, command, script, STEPS)


def test_a_thread_of_jemalloc_which_dmtcp_does_not_see_is_criu_s_or_refused(
    bench: Workbench, engine: EngineHere
) -> None:
    program = [_compile(bench.folder.parent, "jemalloc", JEMALLOC, "-l:libjemalloc.so.2"), STEPS]
    if engine.name == "criu":
        _comes_through(bench, *program)
        return
    process = bench.start("-i", "1", *program)
    status, said = process.wait(LONG_S), (bench.folder / "stderr.txt").read_text()
    assert (status == 3 and "starting it once more with criu" in said) or "--engine criu" in said


def test_without_the_plugin_a_library_that_starts_threads_is_the_programs_end(
    bench: Workbench, engine: EngineHere
) -> None:
    """Where this one fails, DMTCP has learned it: the plugin can go for versions from that one on."""
    if engine.name != "dmtcp":
        pytest.skip("only DMTCP needs it")
    line = ["--engine", "dmtcp", *_with_library(bench.folder.parent, COUNTING)]
    assert bench.run_without("plugin first", *line).returncode == 139
