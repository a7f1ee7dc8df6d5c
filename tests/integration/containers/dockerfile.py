"""Reads a Dockerfile, and does what its stages say in a directory instead of an image."""

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import orjson

from local_stack.applications import ROOT

# What only an image has: users, the base image's own pip, and packages of its system.
SYSTEM_RUN = re.compile(r"groupadd|useradd|pip uninstall|apt-get")
COMPILER = "/venv-compiler"
# Compiling takes a minute of one core.
RUN_SECONDS = 1200


@dataclass
class Stage:
    """One FROM and what follows: instructions in order, without comments."""

    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [rest for name, rest in self.steps if name == instruction]

    def last(self, instruction: str) -> str:
        return self.all(instruction)[-1]

    @property
    def environment(self) -> dict[str, str]:
        words = [word for line in self.all("ENV") for word in shlex.split(line)]
        return dict(word.split("=", 1) for word in words)

    @property
    def command(self) -> list[str]:
        command: list[str] = orjson.loads(self.last("CMD"))
        return command

    @property
    def health_check(self) -> list[str]:
        command: list[str] = orjson.loads(self.last("HEALTHCHECK").partition("CMD ")[2])
        return command


def read_stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    stages: list[Stage] = []
    for line in text.replace("\\\n", "").splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            stages.append(Stage(rest.partition(" AS ")[2]))
        elif instruction:
            stages[-1].steps.append((instruction, rest.strip()))
    return stages


class Directory:
    """A directory that stands for an image's root."""

    # As an engine does, what both Dockerfiles install to compile with is installed once: by what is
    # run and the versions that it reads, where it is.
    _compilers: ClassVar[dict[str, Path]] = {}

    def __init__(self, root: Path, **arguments: str):
        """`arguments` are those of the build, in place of the defaults."""
        self.root = root
        self.stages: dict[str, Path] = {}
        self.arguments = arguments

    def build(self, stages: list[Stage]) -> "Directory":
        """Follow every stage; the last one's files are in `image`."""
        for stage in stages:
            place = self.root / (stage.name or "image")
            self.stages[stage.name] = place
            self.follow(stage, place)
        return self

    @property
    def image(self) -> Path:
        return self.stages[""]

    def follow(self, stage: Stage, place: Path) -> None:
        place.mkdir()
        work = place
        for instruction, rest in stage.steps:
            if instruction == "WORKDIR":
                work = place / rest.lstrip("/")
                work.mkdir(exist_ok=True)
            elif instruction == "COPY":
                self.copy(rest, work, place)
            elif instruction == "ARG":
                name, _, default = rest.partition("=")
                self.arguments.setdefault(name, default)
            elif instruction == "RUN" and not SYSTEM_RUN.search(rest):
                if f"venv --without-pip {COMPILER}" in rest:
                    self.install_compiler(rest, work, place)
                else:
                    run(rest, work, place, self.arguments)

    def install_compiler(self, rest: str, work: Path, place: Path) -> None:
        """RUN what installs the compiler, or lead to where an earlier image has it."""
        step = f"{rest} {self.arguments} {(work / 'requirements' / 'compile.txt').read_text()}"
        if step in self._compilers:
            (place / COMPILER.lstrip("/")).symlink_to(self._compilers[step])
            return
        run(rest, work, place, self.arguments)
        if (compiler := place / COMPILER.lstrip("/")).exists():
            self._compilers[step] = compiler

    def copy(self, rest: str, work: Path, place: Path) -> None:
        """COPY from the repository, or from an earlier stage, which is done with then."""
        *flags, source, target = rest.split()
        if flags:
            origin = self.stages[flags[0].removeprefix("--from=")]
            (origin / source.lstrip("/")).rename(place / target.lstrip("/"))
            return
        if (ROOT / source).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / source, work / target, ignore=ignored)
        else:
            (work / target).mkdir(exist_ok=True)
            shutil.copy(ROOT / source, work / target)

    def environment(self, stage: Stage, **values: str) -> dict[str, str]:
        """What a container of the image starts with, and nothing of this process's own."""
        given = stage.environment
        given["PATH"] = f"{self.image}/venv/bin:/usr/bin:/bin"
        return {**given, **values}


def quick_compiler(place: Path) -> str:
    """A C compiler that takes half the time: it optimises nothing, and notes nothing to debug."""
    path = place.parent / "quick-cc"
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    path.write_text(f'#!/bin/sh\nexec {compiler} "$@" -O0 -g0\n')
    path.chmod(0o755)
    return str(path)


def run(rest: str, work: Path, place: Path, arguments: Mapping[str, str]) -> None:
    """A RUN of a stage that installs or compiles, with its paths below the place."""
    command = re.sub(r"--mount=\S+ ", "", rest).replace("/venv", f"{place}/venv")
    pythons = f"{ROOT}/.venv/bin:{os.environ['PATH']}"
    environment = {**os.environ, **arguments, "PATH": pythons, "CC": quick_compiler(place)}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
