"""Runs `command_line`. Its import takes a second or more: Ctrl-C meanwhile shows no traceback."""

import signal
import sys

if __name__ == "__main__":
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from local_stack.command_line import main

    signal.signal(signal.SIGINT, before)
    sys.exit(main())
