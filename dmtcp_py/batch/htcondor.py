"""HTCondor: the batch job around us, from the ads in its sandbox, and what leaves the sandbox when the job is evicted.

HTCondor runs a job in a sandbox, a directory that has another path at each start. What goes along from one start to
the next is named in the submit file. Needs none of HTCondor's commands, as a node may have none. HTCondor starts the
job again by itself: after an eviction, and when it exits with `checkpoint_exit_code`. Names of attributes: HTCondor
manual, "Job ClassAd Attributes"; of variables: "Environment and services for a running job".
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.batch.allocation import HTCONDOR_AD, Allocation, detect
from dmtcp_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "htcondor"
_SCRATCH = "_CONDOR_SCRATCH_DIR"
_LINE = re.compile(r'^(\w+) = (?:"((?:[^"\\]|\\.)*)"|(\S+))$', re.MULTILINE)
_ANCESTOR = "_CONDOR_ANCESTOR_"
_ON_EVICTION = "ON_EXIT_OR_EVICT"


def read_ad(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes of the job around us that are numbers, words or texts; none outside an HTCondor job."""
    if HTCONDOR_AD not in environ:
        return {}
    try:
        text = Path(environ[HTCONDOR_AD]).read_text(encoding="utf-8", errors="replace")
    except OSError:
        # inherited by a job of another scheduler
        return {}
    return {name: word or re.sub(r"\\(.)", r"\1", quoted) for name, quoted, word in _LINE.findall(text)}


def allocation_around(environ: Mapping[str, str]) -> Allocation:
    """Return the batch job around us, be it HTCondor's or another scheduler's; only defaults outside a batch job."""
    ad = read_ad(environ)
    if not ad:
        return detect(environ)
    # HTCondor comes first: its own daemons may be a job of another scheduler
    restart_status = number(ad, "SuccessCheckpointExitCode")
    return Allocation(
        scheduler=NAME,
        job_id=f"{ad.get('ClusterId', '0')}.{ad.get('ProcId', '0')}",
        array_task=ad.get("ProcId") if (number(ad, "TotalSubmitProcs") or 1) > 1 else None,
        checkpointed_status=85 if restart_status is None else restart_status,
        restarts=number(ad, "NumJobStarts") or 0,
        ends=ends(ad, environ),
        is_evicted=True,
        restart_status=restart_status,
    )


def number(ad: Mapping[str, str], name: str) -> int | None:
    """Return the attribute NAME of AD; None if that is no number."""
    value = ad.get(name, "")
    return int(value) if value.isdecimal() else None


def ends(ad: Mapping[str, str], environ: Mapping[str, str]) -> float | None:
    """Return when HTCondor holds the job with this AD, in seconds since the epoch; None for never."""
    most_s = number(ad, "AllowedExecuteDuration")
    if most_s is None:
        return None
    # HTCondor tells each process which daemon started it, and when; the last of these is the job
    found = [value.split(":")[1:2] for name, value in environ.items() if name.startswith(_ANCESTOR)]
    began = max((float(second) for [second] in found if second.isdecimal()), default=time.time())
    return began + most_s


def sandbox(environ: Mapping[str, str]) -> Path | None:
    """Return the directory whose files HTCondor transfers; None where it transfers none."""
    ad = read_ad(environ)
    if not ad or ad.get("ShouldTransferFiles") == "NO" or _SCRATCH not in environ:
        return None
    return Path(environ[_SCRATCH])


def refuse_to_lose(environ: Mapping[str, str], directory: Path) -> None:
    """Refuse jobs in DIRECTORY if HTCondor would transfer files of the program from there without its checkpoints.

    The next start would then begin over with files that the program has changed already. Raises UsageError.
    """
    inside, ad = sandbox(environ), read_ad(environ)
    if inside is None or not directory.is_relative_to(inside):
        return
    name = str(directory.relative_to(inside))
    for command, attribute in _lists(ad):
        if not _has(ad.get(attribute, ""), name):
            raise UsageError(
                f"HTCondor would take the program's files to its next start without the checkpoints in {name}",
                f"name {name} and the program's files in {command} of the submit file",
            )


def loses_work(environ: Mapping[str, str], directory: Path) -> bool:
    """Whether an eviction loses the checkpoints in DIRECTORY and everything else: the job then starts over."""
    inside = sandbox(environ)
    return inside is not None and directory.is_relative_to(inside) and not _lists(read_ad(environ))


def _lists(ad: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return which lists of files HTCondor transfers before the job has ended: the submit command, the attribute."""
    output = ("transfer_output_files", "TransferOutput")
    found = [output] if ad.get("WhenToTransferOutput") == _ON_EVICTION else []
    if number(ad, "SuccessCheckpointExitCode") is not None:
        found.append(("transfer_checkpoint_files", "TransferCheckpoint") if "TransferCheckpoint" in ad else output)
    return found


def _has(names: str, name: str) -> bool:
    """Whether the list NAMES has the directory NAME or one above; with a slash at its end it is only what is in it."""
    words = [word for word in re.split(r"\s*,\s*", names.strip()) if word and not word.endswith("/")]
    return any(Path(name).is_relative_to(word) for word in words)
