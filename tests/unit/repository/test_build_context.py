"""Files copied by the Dockerfiles reach the builder."""

import re

import pytest

from local_stack.applications import ROOT


@pytest.mark.parametrize("name", ["Dockerfile.crud", "Dockerfile.numbering"])
def test_files_copied_by_a_dockerfile_are_in_the_build_context(name: str) -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = re.findall(r"^COPY (\S+) ", (ROOT / name).read_text(), re.MULTILINE)
    assert "web/" in copied
    assert {source for source in copied if not source.startswith("--")} <= allowed
