"""A site's own program behind a mirror: what it says that it has stored is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dmtcp_py.mirror.address import address_of
from dmtcp_py.mirror.command_place import connect_for

if TYPE_CHECKING:
    from pathlib import Path

_TOOL = """\
#!/bin/sh
case $1 in
put) [ {status} = 0 ] && head -c {stored} "$2" > {folder}/stored; exit {status} ;;
get) [ -e {folder}/stored ] || exit 66; cp {folder}/stored "$3" ;;
esac
"""


@pytest.mark.parametrize(("status", "stored"), [(66, 9), (0, 5), (1, 9)])
def test_what_a_program_has_not_stored_is_a_failure(tmp_path: Path, status: int, stored: int) -> None:
    tool = tmp_path / "tool"
    tool.write_text(_TOOL.format(status=status, stored=stored, folder=tmp_path))
    tool.chmod(0o700)
    place = connect_for(None, address_of(f"command:{tool}"))
    with pytest.raises(OSError, match="put"):
        place.write("job/index.json", b"123456789")
    tool.write_text(_TOOL.format(status=0, stored=9, folder=tmp_path))
    place.write("job/index.json", b"123456789")
