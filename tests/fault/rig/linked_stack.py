"""A whole stack whose processes reach each other through links that a test can cut.

The stack itself is the one of `make run`; run as a program, this file starts it
with addresses of its own for each process. The supervisor and the tests reach
the stores directly.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from bench.running_stack import RunningStack
from local_stack.command_line import run_stack
from local_stack.process import Part
from local_stack.stack import Settings, Stack
from tests.links import Link, Links

# Who reaches whom, and by which setting.
LINKS = {
    ("numbering", "valkey"): "REDIS_URL",
    ("numbering", "crud"): "CRUD_URL",
    ("worker", "valkey"): "REDIS_URL",
    ("worker", "postgres"): "DATABASE_URL",
    ("worker", "elasticsearch"): "ELASTICSEARCH_URL",
    ("crud", "valkey"): "REDIS_URL",
    ("crud", "postgres"): "DATABASE_URL",
    ("crud", "elasticsearch"): "ELASTICSEARCH_URL",
}
VARIABLE = "PORTS_OF_LINKS"
Pair = tuple[str, str]


class LinkedStack(RunningStack):
    """A running stack, with a link for each pair of processes."""

    command = (sys.executable, "-m", "tests.fault.rig.linked_stack")

    def __init__(self, directory: Path, links: Links, environment: Mapping[str, str]):
        super().__init__(directory, environment=environment)
        self.links = {pair: links.add(lambda pair=pair: self.port(pair[1])) for pair in LINKS}
        ports = {" ".join(pair): link.port for pair, link in self.links.items()}
        self.extra[VARIABLE] = json.dumps(ports)

    def link(self, *pair: str) -> Link:
        return self.links[pair]

    def port(self, name: str) -> int:
        """The port of a part at this moment."""
        if name == "crud":
            return self.crud_port
        ports: dict[str, int] = json.loads((self.layout.directory / "ports.json").read_text())
        return ports[name]


class StackBehindLinks(Stack):
    """The stack, as the program that the tests start."""

    def applications(self) -> list[Part]:
        ports: dict[str, int] = json.loads(os.environ[VARIABLE])
        return [through_links(part, ports) for part in super().applications()]


def through_links(part: Part, ports: Mapping[str, int]) -> Part:
    """A part whose addresses lead through its links."""
    environment = dict(part.environment)
    for (source, target), variable in LINKS.items():
        if source == part.name and environment.get(variable):
            port = ports[f"{source} {target}"]
            environment[variable] = with_port(environment[variable], port)
    return replace(part, environment=environment)


def with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{host}:{port}"))


if __name__ == "__main__":
    run_stack(StackBehindLinks(Settings.from_environment()))
