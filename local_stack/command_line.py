"""The whole system on this machine, without containers: python -m local_stack COMMAND

  run       the stack in the foreground, until Ctrl-C
  stop      ends the stack of LOCAL_DIR, from another terminal
  reset     the same, and removes its data; asks first (FORCE=1: does not)
  status    what runs, where, and whether it is ready; exit code 1 when nothing does
  logs      the logs of all parts, followed (PART=worker,crud: of these alone; N=50: so many before)
  demo      a walk through the API of a running stack, every exchange printed
  compiled  compiles the services for the next run

Settings come from the environment; all others reach our processes as they are.

  LOCAL_DIR               where data, logs and addresses lie (.local)
  CRUD_PORT               of crud_service (3000)
  NUMBERING_PORT          of numbering_service (8080)
  HOST                    the address to listen on (127.0.0.1)
  WITHOUT_ELASTICSEARCH   1: PostgreSQL answers searches
  CLUSTER                 1: several of each part, with data of their own (.local-cluster)
  COMPILED                0: the services from their sources, after `make compiled` too
  NO_COLOR                1: no colours on a terminal
"""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from local_stack.cluster.cluster_stack import ClusterStack
from local_stack.compiled.tree import compile_sources
from local_stack.console import complain, paint, say
from local_stack.demo import demo
from local_stack.failure import StackError, explain
from local_stack.log_reading import logs
from local_stack.stack import Settings, Stack
from local_stack.status import status
from local_stack.teardown import reset, stop
from web.process_signals import signal_when_parent_dies


def main() -> int:
    """Run the command that the arguments name, and return the exit code."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name in {"-h", "--help"}:
        say(str(__doc__).strip())
        return 0
    if name not in COMMANDS:
        complain(f"usage: python -m local_stack {'|'.join(COMMANDS)} (--help says more)")
        return 2
    settings = None
    try:
        settings = Settings.from_environment()
        COMMANDS[name](settings)
    except StackError as error:
        complain(str(error))
        return 1
    except OSError as error:
        complain(str(explain(error, settings.directory if settings else Path())))
        return 1
    except KeyboardInterrupt:
        say()
        return 128 + signal.SIGINT
    return 0


def run(settings: Settings) -> None:
    run_stack(ClusterStack(settings) if settings.cluster else Stack(settings))


COMMANDS: Mapping[str, Callable[[Settings], object]] = {
    "run": run,
    "stop": stop,
    "reset": reset,
    "status": status,
    "logs": logs,
    "demo": demo,
    "compiled": lambda _: compile_sources(),
}


def run_stack(stack: Stack) -> None:
    """Start the stack, supervise it, and stop it on SIGINT, SIGTERM or SIGHUP."""
    stack.prepare()
    stop_on_signals(stack)
    try:
        welcome(stack.start(), stack)
        stack.supervisor.run(stack.look_after)
    except KeyboardInterrupt:
        say()
    finally:
        say("stopping …")
        began = time.monotonic()
        stack.supervisor.ask_to_stop()
        stack.stop()
        say(f"stopped after {time.monotonic() - began:.1f} s")


def stop_on_signals(stack: Stack) -> None:
    """Interrupt startup at once, stop supervision at its next check; ignore later signals."""

    def interrupt(*_: object) -> None:
        if stack.supervisor.stopping:
            return
        stack.supervisor.ask_to_stop()
        if not stack.started:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which is what nohup sets
        signal.signal(signal.SIGHUP, interrupt)
    if "MAKELEVEL" in os.environ:
        # If `make` is killed, we would keep running with nobody to stop us.
        signal_when_parent_dies(signal.SIGTERM)


def welcome(environment: dict[str, str], stack: Stack) -> None:
    crud, numbering = environment["CRUD_URL"], environment["NUMBERING_URL"]
    search = "PostgreSQL"
    if environment["ELASTICSEARCH_URL"]:
        search = "Elasticsearch (still starting; PostgreSQL until then)"
    settings, env = stack.settings, shlex.quote(str(stack.layout.stack_env))
    create = f'curl -X POST {crud}/applications -d \'{{"name": "my app"}}\''
    if environment.get("ADMIN_TOKEN"):
        create = f'(. {env}; {create} -H "Authorization: Bearer $ADMIN_TOKEN")'
    lines = {
        "chat page": f"{paint(f'{crud}/demo', 'bold', 'cyan')}   open it in two windows",
        "crud_service": f"{paint(crud, 'bold', 'cyan')}   docs {crud}/docs",
        "numbering_service": f"{paint(numbering, 'bold', 'cyan')}   docs {numbering}/docs",
        "admin site": f"{crud}/admin/   user admin, password: grep ADMIN_PASSWORD {env}",
        "search": search,
        "data, logs": f"{stack.layout.directory}   addresses and secrets in stack.env",
        "try": create,
        "": "\n".ljust(21).join(
            f"{settings.command(target)}   {what}" for target, what in FURTHER.items()
        ),
    }
    if settings.cluster:
        lines = {"cluster": PARTS_OF_CLUSTER, **lines}
    say()
    for label, text in lines.items():
        say(f"{paint(f'{label:<18}', 'dim')}  {text}")
    say(f"\nCtrl-C stops everything; the data stays in {stack.layout.directory}\n")


PARTS_OF_CLUSTER = (
    "three primaries of Valkey with a replica each, a standby of PostgreSQL, two of each service"
)
FURTHER = {
    "demo": "walks through the API",
    "logs": "follows the logs",
    "status": "tells what runs",
    "stop": "ends it from another terminal",
}
