"""Compiles the present sources: `python -m local_stack.compiled`."""

import sys

from local_stack.compiled.tree import compile_sources
from local_stack.console import complain
from local_stack.failure import StackError


def main() -> int:
    try:
        compile_sources()
    except StackError as error:
        complain(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
