"""Builds `.venv` from a lock file: `python3 local_stack/environment.py run|dev`.

Run as a file by the machine's own Python, standard library only; an old one, which can't evaluate
`list[str]`, gets as far as looking for a newer one. Runs again only when the lock file has changed;
a file lock serialises `make run` and `make test` when they start concurrently.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
FLOOR = (3, 11)
SAY_EVERY_SECONDS = 15


def main() -> None:
    """Build the environment from a lock file, or exit with one line that says why not."""
    lock = ROOT / "requirements" / f"{sys.argv[1]}.txt"
    if sys.version_info < FLOOR:
        run_newer_python()
    try:
        # Any file that always exists will do for the lock.
        with Path(__file__).open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            build(lock)
    except OSError as error:
        sys.exit(f"the virtual environment can't be created: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the virtual environment is not complete; the next make goes on")


def run_newer_python() -> None:
    """Start over with a newer Python of this machine, or exit if there is none."""
    for minor in range(14, FLOOR[1] - 1, -1):
        python = shutil.which(f"python3.{minor}")
        if python:
            os.execv(python, [python, "-I", *sys.argv])  # noqa: S606 - a Python on the PATH
    found = ".".join(str(number) for number in sys.version_info[:3])
    sys.exit(f"Python 3.11 or newer is required, but {sys.executable} is {found}: set PYTHON=")


def build(lock: Path) -> None:
    stamp = VENV / f"installed-{lock.stem}"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if PYTHON.exists() and is_stamped(stamp, digest):
        return
    if not can_run(PYTHON):
        make()
    say(f"installing {lock.relative_to(ROOT)} into .venv, once …")
    pip = [str(PYTHON), "-m", "pip", "install", "--progress-bar=off", "--disable-pip-version-check"]
    options = ["--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    packages = sum("==" in line for line in lock.read_text().splitlines())
    run([*pip, *options], "pip install failed", packages)
    stamp.write_text(digest)


def make() -> None:
    """Make an empty environment; some distributions ship venv and ensurepip separately."""
    say(f"creating .venv with {sys.executable} …")
    hint = "python3 -m venv failed (on Debian and Ubuntu: apt install python3-venv)"
    run([sys.executable, "-m", "venv", "--clear", str(VENV)], hint)


def is_stamped(stamp: Path, digest: str) -> bool:
    return stamp.exists() and stamp.read_text() == digest


def can_run(python: Path) -> bool:
    """Whether the environment's interpreter still works (a moved clone's does not)."""
    if not python.exists():
        return False
    command = [str(python), "-c", "import pip"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def run(command: "list[str]", failure: str, packages: int = 0) -> None:
    """Run a command and say how many packages are there; exit with its error if it fails."""
    output: list[str] = []
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    progress = Progress(packages)
    with process:
        for line in process.stdout or ():
            output.append(line.strip())
            progress.note(line)
    progress.end()
    if process.returncode != 0:
        sys.exit(f"{failure}: {find_reason(output or ['no output'])}")


class Progress:
    """How far pip is: one line that is renewed on a terminal, elsewhere one now and then."""

    def __init__(self, packages: int) -> None:
        self.packages = packages
        self.collected = 0
        self.began = self.said_at = time.monotonic()
        self.is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def note(self, line: str) -> None:
        self.collected += line.startswith("Collecting ")
        what = f"{self.collected} of {self.packages} packages are there"
        if line.startswith("Installing collected packages"):
            what = f"unpacking {self.packages} packages"
        now = time.monotonic()
        text = f"  {what}  {now - self.began:.0f} s"
        if self.is_terminal:
            sys.stdout.write(f"\r\x1b[2K{text}")
            sys.stdout.flush()
        elif now - self.said_at > SAY_EVERY_SECONDS:
            self.said_at = now
            say(text)

    def end(self) -> None:
        if self.is_terminal:
            sys.stdout.write("\r\x1b[2K")
            sys.stdout.flush()


def find_reason(lines: "list[str]") -> str:
    """Return the line that says what went wrong: a full disk, else pip's last error."""
    full = [line for line in lines if "No space left" in line]
    errors = [line for line in lines if "ERROR" in line]
    return (full or errors[-1:] or lines)[-1].strip()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
