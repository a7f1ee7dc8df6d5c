"""The whole system on this machine, without containers: python -m local_stack run|demo

  run    the stack in the foreground, until Ctrl-C
  demo   a walk through the API of a running stack, every exchange printed

Settings come from the environment; all others reach our processes as they are.

  LOCAL_DIR               where data, logs and addresses lie (.local)
  CRUD_PORT               of crud_service (3000)
  NUMBERING_PORT          of numbering_service (8080)
  HOST                    the address to listen on (127.0.0.1)
  WITHOUT_ELASTICSEARCH   1: PostgreSQL answers searches
"""

import os
import signal
import sys

from local_stack.console import complain, say
from local_stack.demo import demo
from local_stack.failure import StackError, explain
from local_stack.stack import Settings, Stack
from web.death_signal import signal_when_parent_dies


def main() -> int:
    commands = {"run": run, "demo": demo}
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name in {"-h", "--help"}:
        say(str(__doc__).strip())
        return 0
    if name not in commands:
        complain("usage: python -m local_stack run|demo (--help says more)")
        return 2
    try:
        commands[name]()
    except StackError as error:
        complain(str(error))
        return 1
    except OSError as error:
        complain(str(explain(error, Settings.from_environment().directory)))
        return 1
    return 0


def run() -> None:
    run_stack(Stack(Settings.from_environment()))


def run_stack(stack: Stack) -> None:
    """Start the stack, supervise it, and stop it on SIGINT, SIGTERM or SIGHUP."""
    stack.prepare()
    stop_on_signals(stack)
    try:
        welcome(stack.start(), stack)
        stack.supervisor.run(stack.look_after_elasticsearch)
    except KeyboardInterrupt:
        say()
    finally:
        say("stopping …")
        stack.supervisor.ask_to_stop()
        stack.stop()


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
    say(f"""
crud_service       {crud}   docs {crud}/docs
numbering_service  {numbering}   docs {numbering}/docs
admin site         {crud}/admin/   user admin, ADMIN_PASSWORD in stack.env
search             {search}
addresses, secrets {stack.layout.stack_env}
logs               {stack.layout.logs}

try   curl -X POST {crud}/applications -d '{{"name": "my app"}}'
      make demo
Ctrl-C stops everything; the data stays in {stack.layout.directory}
""")


if __name__ == "__main__":
    sys.exit(main())
