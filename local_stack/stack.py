"""The whole stack: stores, tables, our processes, in one directory on given ports."""

import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from local_stack.applications import applications, migrate, shared_settings
from local_stack.console import paint, say
from local_stack.failure import StackError
from local_stack.layout import Layout, read_json_file
from local_stack.ports import (
    LOOPBACK,
    is_free,
    next_free,
    reachable_host,
    remembered_ports,
    require_own_address,
    why_not_free,
)
from local_stack.process import Part, Running, end_leftovers
from local_stack.stores.distribution import UnavailableError, distribution
from local_stack.stores.elasticsearch import elasticsearch, elasticsearch_url
from local_stack.stores.postgres import create_database, database_url, postgres
from local_stack.stores.valkey import redis_url, valkey
from local_stack.supervisor import Supervisor

STORE_PORTS = ("postgres", "valkey", "elasticsearch", "elasticsearch_transport")
LOOK_FOR_ELASTICSEARCH_SECONDS = 0.5
# A service that accepts work stops before the services that it needs to finish that work.
STOPPED_FIRST = ("numbering", "crud", "worker")


@dataclass(frozen=True)
class Settings:
    directory: Path
    crud_port: int = 3000
    numbering_port: int = 8080
    host: str = LOOPBACK
    with_elasticsearch: bool = True
    cluster: bool = False
    # Starting it takes ten seconds of CPU time: tests start it when one needs it.
    elasticsearch_later: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        cluster = environment.get("CLUSTER", "") not in {"", "0"}
        return cls(
            Path(environment.get("LOCAL_DIR") or default_directory(cluster=cluster)),
            read_port(environment, "CRUD_PORT", cls.crud_port),
            read_port(environment, "NUMBERING_PORT", cls.numbering_port),
            environment.get("HOST") or cls.host,
            environment.get("WITHOUT_ELASTICSEARCH", "") in {"", "0"},
            cluster,
        )

    def command(self, target: str) -> str:
        """Return what to type to do something with this stack, started or not."""
        is_default = self.directory.resolve() == default_directory(cluster=self.cluster).resolve()
        words = ["CLUSTER=1"] * self.cluster + [f"LOCAL_DIR={self.directory}"] * (not is_default)
        return shlex.join(["make", target, *words])

    def command_to_run(self) -> str:
        """Return what to type to run a stack with these settings."""
        default = Settings(self.directory)
        settings = (
            ("CRUD_PORT", self.crud_port, default.crud_port),
            ("NUMBERING_PORT", self.numbering_port, default.numbering_port),
            ("HOST", self.host, default.host),
            ("WITHOUT_ELASTICSEARCH", int(not self.with_elasticsearch), 0),
        )
        chosen = [f"{name}={value}" for name, value, usual in settings if value != usual]
        return " ".join([self.command("run"), *map(shlex.quote, chosen)])


def default_directory(*, cluster: bool) -> Path:
    """Return where the data is: a cluster has its own, beside that of the plain stack."""
    return Path(".local-cluster" if cluster else ".local")


def read_port(environment: Mapping[str, str], variable: str, default: int) -> int:
    """Read a port from the environment; raises StackError for an invalid one."""
    text = environment.get(variable) or str(default)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise StackError(f"{variable}={text} is not a port")
    return int(text)


class Stores:
    """PostgreSQL, Valkey and, where available, Elasticsearch."""

    port_names: tuple[str, ...] = STORE_PORTS

    def __init__(self, settings: Settings):
        self.settings = settings
        self.layout = Layout(settings.directory)
        self.supervisor = Supervisor(self.layout)
        self.environment: dict[str, str] = {}
        self.search: list[Part] = []
        self.optional: list[Running] = []
        self.why_no_elasticsearch = ""

    def prepare(self) -> None:
        self.require_own_kind()
        self.layout.create()
        status, stop = map(self.settings.command, ("status", "stop"))
        self.held = self.layout.lock(f": `{status}` shows it, `{stop}` ends it")
        if count := end_leftovers(self.layout.directory):
            say(f"ended {count} processes left behind by an earlier run")
        self.layout.forget_run()

    def require_own_kind(self) -> None:
        """Raise StackError if the directory is a cluster's and this is none, or the reverse.

        A cluster's database has commits wait for its standby, also where there is none.
        """
        known = read_json_file(self.layout.ports)
        is_cluster = "standby" in known
        if not known or is_cluster == self.settings.cluster:
            return
        what = "a cluster" if is_cluster else "a stack without CLUSTER=1"
        command = replace(self.settings, cluster=is_cluster).command_to_run()
        raise StackError(
            f"{self.layout.directory} holds the data of {what}: type {command},"
            " or choose another LOCAL_DIR"
        )

    def start(self) -> dict[str, str]:
        """Start the stores; returns their addresses once PostgreSQL and Valkey answer."""
        self.password = self.layout.secrets()["POSTGRES_PASSWORD"]
        self.ports = remembered_ports(self.layout.ports, self.port_names)
        parts = self.needed_stores()
        self.search = self.elasticsearch()
        needed = self.supervisor.start(parts)
        if not self.settings.elasticsearch_later:
            self.start_elasticsearch()
        self.supervisor.wait_ready(needed)
        create_database(self.database_url("postgres"))
        self.environment = {
            **self.connect_stores(),
            "DATABASE_URL": self.database_url("postgres"),
            "ELASTICSEARCH_URL": (
                elasticsearch_url(self.ports["elasticsearch"]) if self.search else ""
            ),
        }
        return self.environment

    def needed_stores(self) -> list[Part]:
        """Return the stores that have to answer before anything else starts."""
        return [
            postgres(self.layout, self.ports["postgres"], self.password),
            valkey(self.layout, self.ports["valkey"]),
        ]

    def connect_stores(self) -> dict[str, str]:
        """Do what takes several running stores; returns further addresses and their settings."""
        return {"REDIS_URL": redis_url(self.ports["valkey"])}

    def database_url(self, server: str) -> str:
        """Return the address of our database on one of the servers."""
        return database_url(self.password, self.ports[server], "chat")

    def elasticsearch(self) -> list[Part]:
        """Return Elasticsearch as a part; nothing, with a line that says why, if unavailable."""
        if not self.settings.with_elasticsearch:
            self.why_no_elasticsearch = "WITHOUT_ELASTICSEARCH is set"
            return []
        try:
            home = distribution(self.layout)
        except UnavailableError as error:
            self.why_no_elasticsearch = str(error)
            say(f"  elasticsearch is not available here ({error}): PostgreSQL answers searches")
            return []
        transport = self.ports["elasticsearch_transport"]
        return [elasticsearch(self.layout, home, self.ports["elasticsearch"], transport)]

    def start_elasticsearch(self) -> None:
        if not self.optional:
            self.optional = self.supervisor.start(self.search)

    def wait_for_elasticsearch(self) -> None:
        """Wait until it is ready, or report that the stack goes on without it."""
        try:
            self.supervisor.wait_ready(self.optional)
        except StackError as error:
            say(f"{error}; continuing without it")

    def stop(self) -> None:
        self.supervisor.stop(STOPPED_FIRST)
        self.layout.forget_run()
        self.held.close()


class Stack(Stores):
    """The stores with crud, worker and numbering."""

    started = False
    told_of_elasticsearch = False

    def prepare(self) -> None:
        super().prepare()
        self.require_free_ports()

    def require_free_ports(self) -> None:
        """Raise StackError if a port is taken: who holds it, and what to type instead."""
        settings = self.settings
        crud, numbering = settings.crud_port, settings.numbering_port
        if crud == numbering:
            raise StackError(f"CRUD_PORT and NUMBERING_PORT are both {crud}")
        require_own_address(settings.host)
        taken = [port for port in (crud, numbering) if not is_free(port, settings.host)]
        if not taken:
            return
        if crud in taken:
            crud = next_free(crud, settings.host, {numbering})
        if numbering in taken:
            numbering = next_free(numbering, settings.host, {crud})
        instead = replace(settings, crud_port=crud, numbering_port=numbering).command_to_run()
        who = "; ".join(why_not_free(port, settings.host) for port in taken)
        raise StackError(f"{who}; instead, type: {instead}")

    def start(self) -> dict[str, str]:
        """Start everything; stack.env appears once crud, worker and numbering are ready.

        Elasticsearch takes longer and is not waited for: PostgreSQL answers searches until then.
        """
        self.began = time.monotonic()
        stores = super().start()
        self.environment = {**shared_settings(), **stores, **self.application_environment()}
        self.environment |= chat_page(self.environment)
        migrate(self.layout, self.environment)
        needed = self.supervisor.start(self.applications())
        self.supervisor.wait_ready(needed)
        self.layout.write_env(self.environment)
        self.started = True
        say(paint(f"ready after {time.monotonic() - self.began:.1f} s", "bold"))
        return self.environment

    def look_after(self) -> float | None:
        """Report what happens to the running stack; for `Supervisor.run`.

        Here that Elasticsearch is ready or takes too long, once. Returns in how many seconds to
        look again; None: not before something happens.
        """
        if not self.optional or self.told_of_elasticsearch:
            return None
        seconds = time.monotonic() - self.began
        if all(running.part.is_ready() for running in self.optional):
            say(f"elasticsearch is ready after {seconds:.1f} s")
        elif seconds > max(running.part.ready_seconds for running in self.optional):
            say(f"elasticsearch is not ready after {seconds:.0f} s; continuing without it")
        else:
            return LOOK_FOR_ELASTICSEARCH_SECONDS
        self.told_of_elasticsearch = True
        return None

    def applications(self) -> list[Part]:
        return applications(self.environment)

    def application_environment(self) -> dict[str, str]:
        """Return addresses and secrets for our processes; the caller's values override some."""
        settings, secrets = self.settings, self.layout.secrets()
        reachable = reachable_host(settings.host)
        crud = f"http://{reachable}:{settings.crud_port}"
        numbering = f"http://{reachable}:{settings.numbering_port}"
        return {
            "HOST": settings.host,
            "CRUD_PORT": str(settings.crud_port),
            "NUMBERING_PORT": str(settings.numbering_port),
            "CRUD_URL": crud,
            "NUMBERING_URL": numbering,
            "CRUD_PUBLIC_URL": os.environ.get("CRUD_PUBLIC_URL") or crud,
            # The demo needs it, if it is set.
            "ADMIN_TOKEN": os.environ.get("ADMIN_TOKEN", ""),
            "INTERNAL_TOKEN": secrets["INTERNAL_TOKEN"],
            "SECRET_KEY": secrets["SECRET_KEY"],
            "ADMIN_PASSWORD": os.environ.get("ADMIN_PASSWORD") or secrets["ADMIN_PASSWORD"],
            "LOCAL_STACK": "1",
        }


def chat_page(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what switches the chat page on, and lets its scripts call numbering_service."""
    origins = allowed_origins(os.environ.get("CORS_ORIGINS", ""), environment["CRUD_URL"])
    return {"DEMO_NUMBERING_URL": environment["NUMBERING_URL"], "CORS_ORIGINS": origins}


def allowed_origins(chosen: str, crud: str) -> str:
    """Add crud_service's own origins to a list of CORS_ORIGINS, unless it allows all."""
    if chosen.strip() == "*":
        return chosen
    names = crud, crud.replace(f"//{LOOPBACK}:", "//localhost:")
    own = [name.removesuffix(":80") for name in names]  # browsers leave out the default port
    # Both services refuse a list that is malformed, and say why.
    return ",".join(dict.fromkeys([*chosen.replace(",", " ").split(), *own]))
