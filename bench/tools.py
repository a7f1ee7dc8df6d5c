"""The load generators, both of them in C: wrk, and redis-benchmark for the yardstick."""

import csv
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SCRIPT = Path(__file__).with_name("load.lua")
PACKAGES = {"wrk": "wrk", "redis-benchmark": "redis-tools"}


class BenchError(Exception):
    """Why a benchmark can't be run, in one line."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw; its percentiles are corrected for requests that had to wait to be sent."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    refused: int
    broken: int
    strayed: int = 0

    @property
    def failed(self) -> int:
        """Requests that got another status, or no answer."""
        return self.refused + self.broken

    @property
    def rate(self) -> float:
        """Requests a second that were answered as they should be."""
        return max(0, self.requests - self.failed) / self.seconds


@dataclass(frozen=True, slots=True)
class Request:
    """A path, and the JSON to send there if any."""

    path: str
    body: str = ""


def require_tools() -> None:
    """Raise BenchError naming a load generator that is not installed, and how to get it."""
    for program, package in PACKAGES.items():
        if shutil.which(program) is None:
            raise BenchError(
                f"{program} is not installed (on Debian and Ubuntu: apt install {package})"
            )


def load(
    url: str,
    requests: Sequence[Request],
    *,
    clients: int,
    seconds: int,
    method: str = "GET",
    pause_ms: float = 0,
    salt: str = "",
    backend: str = "",
) -> Load:
    """Send requests for some seconds, each client the next one once it has its answer."""
    with tempfile.NamedTemporaryFile("w", suffix=".requests", encoding="utf-8") as file:
        file.writelines(f"{each.path}\t{each.body}\n" for each in requests)
        file.flush()
        options = ["-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT)]
        arguments = [method, file.name, str(pause_ms), salt, backend]
        return parse_wrk(run(["wrk", *options, url, "--", *arguments]))


def parse_wrk(output: str) -> Load:
    """The line that load.lua writes."""
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise BenchError(f"wrk reported nothing: {output.strip()[-300:]}")
    seen = json.loads(lines[-1].removeprefix("RESULT "))
    return Load(
        requests=seen["requests"],
        seconds=seen["microseconds"] / 1e6,
        p50_ms=seen["p50"] / 1000,
        p99_ms=seen["p99"] / 1000,
        slowest_ms=seen["slowest"] / 1000,
        refused=seen["refused"],
        broken=seen["broken"],
        strayed=seen["strayed"],
    )


def increments_per_second(redis_url: str, clients: int, requests: int) -> float:
    """INCR by redis-benchmark without pipelining: how fast this machine is just now."""
    address = urlsplit(redis_url)
    where = ["-h", str(address.hostname), "-p", str(address.port)]
    what = ["-t", "incr", "-c", str(clients), "-P", "1", "-n", str(requests), "--csv"]
    rows = list(csv.DictReader(run(["redis-benchmark", *where, *what]).splitlines()))
    if not rows or "rps" not in rows[0]:
        raise BenchError("redis-benchmark reported nothing: version 6.2 or newer is needed")
    return float(rows[0]["rps"])


def run(command: Sequence[str]) -> str:
    """Run a program to its end; raises BenchError when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise BenchError(f"{command[0]} failed: {lines[-1]}")
    return done.stdout
