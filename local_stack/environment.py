"""Builds `.venv` from a lock file: `python3 local_stack/environment.py run|dev`.

Run as a file by the machine's own Python, standard library only. Runs again
only when the lock file has changed; a file lock serialises `make run` and
`make test` when they start concurrently.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
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
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)], "pip install failed")
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


def run(command: list[str], failure: str) -> None:
    """Run a command and print progress now and then; exit with its error if it fails."""
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for passed in range(SAY_EVERY_SECONDS, 3600, SAY_EVERY_SECONDS):
        try:
            output, _ = process.communicate(timeout=SAY_EVERY_SECONDS)
            break
        except subprocess.TimeoutExpired:
            say(f"… {passed} s")
    if process.returncode != 0:
        sys.exit(f"{failure}: {find_reason(output.strip().splitlines() or ['no output'])}")


def find_reason(lines: list[str]) -> str:
    """Return the line that says what went wrong: a full disk, else pip's last error."""
    full = [line for line in lines if "No space left" in line]
    errors = [line for line in lines if "ERROR" in line.upper()]
    return (full or errors[-1:] or lines)[-1].strip()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
