"""A program that answers one line and then does nothing, without limit."""

import json
import sys
import time

if __name__ == "__main__":
    sys.stdin.readline()
    print(json.dumps("always"), flush=True)  # noqa: T201 - it is a program
    while True:
        time.sleep(600)
