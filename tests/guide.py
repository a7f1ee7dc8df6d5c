"""The commands of docs/operations.md, which tests run as they are printed."""

import re
import textwrap

from local_stack.applications import ROOT

GUIDE = (ROOT / "docs" / "operations.md").read_text()


def commands(heading: str, position: int = 0) -> str:
    """Return the commands below a heading of the guide; its first block of them, or another."""
    _, _, section = GUIDE.partition(f"\n### {heading}\n")
    blocks = re.finditer(r"^( *)```sh\n(.*?)^\1```", section.partition("\n##")[0], re.DOTALL | re.M)
    found = [textwrap.dedent(block[2]) for block in blocks]
    assert found, heading
    return found[position]
