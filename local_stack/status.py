"""`make status`: what runs in a directory, where, and how it is."""

import time
from collections.abc import Collection, Mapping

import httpx
import psutil

from local_stack.cluster.proxy import PROXY
from local_stack.cluster.roles import Roles, nodes_of
from local_stack.console import paint, say
from local_stack.failure import StackError
from local_stack.layout import Layout, read_json_file
from local_stack.ports import PLAIN_HTTP
from local_stack.stack import Settings
from local_stack.teardown import running_parts

ADDRESSES = {
    "crud": "CRUD_URL",
    "numbering": "NUMBERING_URL",
    "elasticsearch": "ELASTICSEARCH_URL",
}


def status(settings: Settings) -> None:
    """Print the parts and the readiness of a running stack; raises StackError when none runs."""
    layout = Layout(settings.directory)
    supervisor = find_supervisor(settings)
    try:
        environment = layout.read_env()
    except FileNotFoundError:
        environment = {}
    say(f"stack in {layout.directory}, supervisor {supervisor.pid}: {readiness(environment)}")
    parts = running_parts(layout)
    remarks = addresses(environment, parts) | roles(layout)
    for name, process in parts.items():
        remark = remarks.get(name, "")
        say(f"  {name:<14} pid {process.pid:<8} {measure(process)}   {remark}".rstrip())


def find_supervisor(settings: Settings) -> psutil.Process:
    """Return a stack's supervisor; raises StackError when none runs."""
    layout = Layout(settings.directory)
    if supervisor := layout.supervisor():
        return supervisor
    raise StackError(
        f"no stack is running in {layout.directory}: start one with `{settings.command('run')}`"
    )


def addresses(environment: Mapping[str, str], parts: Collection[str]) -> dict[str, str]:
    """Return where the parts are reached, by their names."""
    found = {name: environment.get(variable, "") for name, variable in ADDRESSES.items()}
    if PROXY in parts:
        found[PROXY] = " ".join(found[name] for name in ("crud", "numbering"))
    return found


def roles(layout: Layout) -> dict[str, str]:
    """Return which servers of Valkey's cluster are primaries, and whom the others follow."""
    return Roles(nodes_of(read_json_file(layout.ports))).look()


def readiness(environment: dict[str, str]) -> str:
    """Return what the readiness check of crud_service says, in words."""
    if not environment:
        return paint("starting", "yellow")
    try:
        url = f"{environment['CRUD_URL']}/health/ready"
        answer = httpx.get(url, timeout=10, **PLAIN_HTTP).json()
    except (httpx.HTTPError, ValueError):
        return paint("crud does not answer", "red")
    state = str(answer.get("status", "not ready"))
    if state == "ok":
        return paint(state, "green")
    dependencies = answer.get("dependencies", {}).items()
    troubled = {"degraded", "unavailable"}
    missing = ", ".join(name for name, each in dependencies if each.get("status") in troubled)
    return paint(f"{state} ({missing})" if missing else state, "yellow")


def measure(process: psutil.Process) -> str:
    """Return a process's memory and age."""
    try:
        megabytes = process.memory_info().rss / 1e6
        minutes, seconds = divmod(int(time.time() - process.create_time()), 60)
    except psutil.Error:
        return "has just ended"
    return f"{megabytes:5.0f} MB  up {minutes:3} min {seconds:2} s"
