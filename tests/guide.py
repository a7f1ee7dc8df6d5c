"""The commands of docs/operations.md, which tests run as they are printed."""

import re
import textwrap

from local_stack.applications import ROOT

GUIDE = (ROOT / "docs" / "operations.md").read_text()


def commands(heading: str) -> str:
    """Return the commands below a heading of the guide."""
    _, _, section = GUIDE.partition(f"\n### {heading}\n")
    found = re.search(r"^( *)```sh\n(.*?)^\1```", section.partition("\n##")[0], re.DOTALL | re.M)
    assert found, heading
    return textwrap.dedent(found[2])
