"""How a program starts inside a computation's namespaces: without site-packages, with this package on its path."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[4]
_CODE = """\
import sys
sys.path.insert(0, {root!a})
from {module} import main
main(sys.argv[1:])
"""


def inside_argv(module: str, *words: str) -> list[str]:
    """Return the command that runs ``main`` of MODULE, a name below ``dmtcp_py``, with WORDS."""
    code = _CODE.format(root=str(_ROOT), module=f"dmtcp_py.{module}")
    # -I ignores PYTHONUTF8, and both sides must turn names into text alike
    return [sys.executable, "-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}", "-c", code, *words]
