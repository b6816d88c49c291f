"""What a program reads below /proc about processes has the numbers that getpid() and wait() have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

SCRIPT = """
sleep 1000 & child=$!
read own rest < /proc/self/stat
[ $own = $$ ] || echo "stat has $own, not $$"
sh -c 'read own rest < /proc/self/stat; [ $own = $$ ] || echo "read in parts, stat has $own, not $$"'
[ "$(sed -n 's/^PPid:[^0-9]*//p' /proc/$child/status)" = $$ ] || echo "status has another parent"
ls -d /proc/$child > /dev/null || echo "the child has no folder"
case " $(echo /proc/[0-9]*) " in *" /proc/$child "*) ;; *) echo "the child is not listed" ;; esac
case " $(cat /proc/$$/task/$$/children) " in *" $child "*) ;; *) echo "the child is not among the children" ;; esac
[ "$(readlink /proc/self/exe)" ] || echo "no executable"
kill $child
echo looked
"""
AFTER_A_RESUME = """
sleep 1000 & child=$!
until [ -e go ]; do
    read own rest < /proc/self/stat
    [ "$own" = $$ ] && ls -d /proc/$child > /dev/null && echo same || echo "$own is not $$"
    sleep 0.2
done
kill $child
"""


def test_files_and_folders_of_processes_have_the_programs_numbers(bench: Workbench, one_dmtcp: EngineHere) -> None:
    del one_dmtcp  # the bench has it
    (bench.folder / "look.sh").write_text(SCRIPT)
    process = bench.start("-i", "0", "--stdout", "out.txt", "bash", "look.sh")
    assert process.wait(LONG_S) == 0
    assert bench.said("out.txt") == "looked\n"


def test_a_child_that_two_tools_know_is_found_after_a_resume(bench: Workbench, one_dmtcp: EngineHere) -> None:
    del one_dmtcp
    (bench.folder / "look.sh").write_text(AFTER_A_RESUME)
    process = bench.start("-i", "0", "--stdout", "out.txt", "bash", "look.sh")
    wait_until(lambda: bench.said("out.txt").count("same") > 1)
    assert bench.ctl("checkpoint", bench.job.name).returncode == 0
    kill_all(process)
    before = bench.said("out.txt").count("same")
    process = bench.start("-i", "0", "--stdout", "out.txt", "bash", "look.sh")
    wait_until(lambda: bench.said("out.txt").count("same") > before)
    (bench.folder / "go").touch()
    assert process.wait(LONG_S) == 0
    assert set(bench.said("out.txt").split()) == {"same"}
