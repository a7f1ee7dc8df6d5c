"""Programs that a test asks again and again: a process of their own that starts once."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from local_stack.applications import ROOT
from tests.children import kill


class LineProgram:
    """A module run as a program that answers each line of its input with one line of JSON."""

    def __init__(
        self, module: str, environment: Mapping[str, str], stderr: int | None = None
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:  # it may be waiting for something that never comes
            kill(self._process)
        self._process.communicate()

    def answer_to(self, line: str) -> Any:
        """Send a line; returns the parsed answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())
