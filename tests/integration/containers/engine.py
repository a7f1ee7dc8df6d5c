"""A stack of docker compose in a project of its own, with its data and on free ports.

It runs where an engine with compose answers and has the base images already: a test
downloads no image. Elsewhere the tests that need it are skipped with one loud line.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import orjson
import pytest
import yaml

from local_stack.applications import ROOT
from local_stack.ports import choose_port
from tests.polling import wait_until

PLAIN = "docker-compose.yml"
PRODUCTION = "docker-compose.production.yml"
CLUSTER = "docker-compose.cluster.yml"
OURS = ("chat-crud", "chat-numbering")
COMMAND_SECONDS = 420
HEALTHY_SECONDS = 240
# Run in the namespace of the host's processes: a process 1 takes no SIGKILL from inside its own.
KILL = "import os, sys; os.kill(int(sys.argv[1]), 9)"


class Stack:
    """The containers of one compose project."""

    def __init__(self, project: str, files: Sequence[str] = (PLAIN,), **settings: str):
        self.project, self.files = project, files
        crud_port = choose_port()
        numbering_port = choose_port({crud_port})
        ports = {"CRUD_PORT": str(crud_port), "NUMBERING_PORT": str(numbering_port)}
        self.settings = ports | settings
        self.crud_url = f"http://127.0.0.1:{crud_port}"
        self.numbering_url = f"http://127.0.0.1:{numbering_port}"

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of compose on this project, whatever its exit code."""
        files = [word for file in self.files for word in ("--file", file)]
        options = ("--project-name", self.project, "--env-file", os.devnull, *files)
        return docker("compose", *options, *arguments, environment=self.settings)

    def up(self, *options: str) -> None:
        """Start everything and wait until it is healthy."""
        wait = ("--wait", "--wait-timeout", str(HEALTHY_SECONDS))
        done = self.compose("up", "--detach", *wait, *options)
        assert done.returncode == 0, done.stderr[-3000:] + self.logs()

    def down(self, *options: str) -> None:
        done = self.compose("down", "--timeout", "20", *options)
        assert done.returncode == 0, done.stderr

    def logs(self) -> str:
        return self.compose("logs", "--tail", "20").stdout[-6000:]

    def containers(self, service: str) -> list[dict[str, Any]]:
        """What the engine knows of a service's containers."""
        names = self.compose("ps", "--all", "--quiet", service).stdout.split()
        described = docker("inspect", *names).stdout if names else "[]"
        found: list[dict[str, Any]] = orjson.loads(described)
        return found

    def states(self, service: str) -> list[str]:
        """The health of each container of a service, or its status where nothing checks it."""
        states = [container["State"] for container in self.containers(service)]
        return [state.get("Health", {}).get("Status") or state["Status"] for state in states]

    def crash(self, service: str) -> None:
        """SIGKILL the first process of a service, and wait until it is replaced and healthy.

        `docker kill` would not do: the engine restarts no container that was killed on request.
        """
        before = self.containers(service)[0]
        pid = str(before["State"]["Pid"])
        killer = ("run", "--rm", "--pid=host", "--user=0:0", "--network=none", OURS[0])
        done = docker(*killer, "python", "-c", KILL, pid)
        assert done.returncode == 0, done.stderr
        wait_until(
            lambda: self.has_replaced(service, before), HEALTHY_SECONDS, self.logs, pause=0.25
        )

    def has_replaced(self, service: str, before: Mapping[str, Any]) -> bool:
        (now,) = [it for it in self.containers(service) if it["Id"] == before["Id"]]
        replaced: bool = now["RestartCount"] > before["RestartCount"]
        return replaced and now["State"]["Health"]["Status"] == "healthy"


def docker(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run docker without the settings of anyone's own stack."""
    ours = set(
        re.findall(r"\$\{([A-Z_]+)", "".join((ROOT / it).read_text() for it in (PLAIN, PRODUCTION)))
    )
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    kept.pop("COMPOSE_FILE", None)
    return subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env={**kept, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def base_images() -> set[str]:
    """Every image of others that the stack and its builds need, without those of a profile."""
    services = yaml.safe_load((ROOT / PLAIN).read_text())["services"].values()
    images = {it["image"] for it in services if "profiles" not in it} - set(OURS)
    return images | read_dockerfiles("# syntax=") | read_base_images()


def read_base_images() -> set[str]:
    """Return what our images are built on."""
    return read_dockerfiles("FROM ")


def read_dockerfiles(instruction: str) -> set[str]:
    texts = [(ROOT / name.replace("chat-", "Dockerfile.")).read_text() for name in OURS]
    lines = [line for text in texts for line in text.splitlines() if line.startswith(instruction)]
    return {line.removeprefix(instruction).split()[0] for line in lines}


@cache
def what_is_missing() -> str:
    """Return what keeps the containers from running here; nothing where they can."""
    if shutil.which("docker") is None:
        return "NO DOCKER: the containers were not run"
    if docker("version").returncode != 0 or docker("compose", "version").returncode != 0:
        return "NO DOCKER ENGINE WITH COMPOSE: the containers were not run"
    there = {image for image in base_images() if docker("image", "inspect", image).returncode == 0}
    if missing := sorted(base_images() - there):
        return f"NO BASE IMAGES: docker pull {' '.join(missing)}"
    return ""


def require_engine(*images: str) -> None:
    """Skip a test where containers can't run, or where it needs further images."""
    if reason := what_is_missing():
        pytest.skip(reason)
    if missing := [name for name in images if docker("image", "inspect", name).returncode != 0]:
        pytest.skip(f"NO IMAGES OF A CLUSTER: docker pull {' '.join(missing)}")
