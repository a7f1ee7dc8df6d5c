"""`check_index`, again and again in one process: Django takes seconds to start on a busy machine.

Run as a program it answers each line of its input with one line: the exit code
and what the command said.
"""

import io
import json
import os
import subprocess
import sys
import time

from bench.running_stack import RunningStack
from local_stack.stores.elasticsearch import is_green_enough
from tests.fault.rig.verify import rows
from tests.line_program import LineProgram
from tests.polling import eventually

# Generous: what is claimed is that it happens by itself, on a busy machine too.
EQUAL_WITHIN_SECONDS = 90.0
ELASTICSEARCH_STARTS_WITHIN = 180.0
PENDING = "SELECT (SELECT count(*) FROM search_outbox) + (SELECT count(*) FROM search_queue)"


class IndexCheck(LineProgram):
    """The program, as a test uses it."""

    def __init__(self, stack: RunningStack):
        super().__init__("tests.fault.rig.index_check", stack.environment, subprocess.DEVNULL)
        self._stack = stack

    def wait_until_equal(self, seconds: float = EQUAL_WITHIN_SECONDS) -> float:
        """Wait until nothing is pending and the index equals the table, with nobody's help.

        Returns after how many seconds it did, counted from the moment at which
        everything is stored and Elasticsearch answers.
        """
        if url := self._stack.environment["ELASTICSEARCH_URL"]:
            assert eventually(lambda: is_green_enough(url), bool, ELASTICSEARCH_STARTS_WITHIN)
        started = time.monotonic()
        pending = eventually(self.pending, lambda it: it == 0, seconds)
        assert pending == 0, "changes that are still not indexed"
        left = seconds - (time.monotonic() - started)
        code, said = eventually(self.ask, lambda it: it[0] == 0, left)
        assert code == 0, said
        return time.monotonic() - started

    def pending(self) -> int:
        return int(rows(self._stack, PENDING)[0][0])

    def ask(self) -> tuple[int, str]:
        """The exit code of one check, and what it said."""
        code, said = self.answer_to("")
        return code, said


def serve() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")
    import django
    from django.core.management import CommandError, call_command

    django.setup()
    for _ in sys.stdin:
        said, code = io.StringIO(), 0
        try:
            call_command("check_index", stdout=said)
        except CommandError as error:
            code = error.returncode
            said.write(str(error))
        sys.stdout.write(json.dumps((code, said.getvalue())) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
