"""A picture of the dashboard: `python -m bench dashboard` draws docs/images/dashboard.svg.

Starts a stack and a real Prometheus with the project's own configuration, sends messages,
searches and followers for some minutes, kills the worker once, and evaluates the queries of
Grafana's dashboard. Needs `prometheus` (on Debian and Ubuntu: apt install prometheus).
"""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import yaml

from bench.line_panels import Line, Panel, draw
from bench.results import say
from bench.running_stack import RunningStack, wait_until
from bench.tools import BenchError
from local_stack.applications import ROOT
from local_stack.ports import LOOPBACK, choose_port

OPS = ROOT / "ops"
DASHBOARD = OPS / "grafana" / "dashboards" / "chat.json"
PICTURE = ROOT / "docs" / "images" / "dashboard.svg"
MINUTES = 4
# The queries look back a minute; the picture begins once they have that much.
WARM_UP_SECONDS = 75
WRITERS, SEARCHERS, FOLLOWERS = 6, 2, 5
PAUSE_SECONDS = 0.02


def draw_dashboard() -> list[Path]:
    """Measure, and draw what Grafana would show."""
    if shutil.which("prometheus") is None:
        raise BenchError(
            "prometheus is not installed (on Debian and Ubuntu: apt install prometheus)"
        )
    directory = ROOT / ".local-bench" / "dashboard"
    shutil.rmtree(directory, ignore_errors=True)
    with RunningStack(directory) as stack, prometheus(stack, directory) as client:
        started = time.time() + WARM_UP_SECONDS
        use(stack, WARM_UP_SECONDS + MINUTES * 60)
        panels = [query(client, panel, started, time.time()) for panel in dashboard_panels()]
    PICTURE.write_text(
        draw("Chat backend under load; the worker is killed after two minutes", panels)
    )
    return [PICTURE]


@contextmanager
def prometheus(stack: RunningStack, directory: Path) -> Iterator[httpx.Client]:
    """Prometheus with the targets of this stack; yields a client of its API."""
    port = choose_port()
    configuration = directory / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(configure(stack)))
    command = [
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address={LOOPBACK}:{port}",
    ]
    log = (directory / "prometheus.log").open("w")
    with (
        log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False, timeout=30) as client,
    ):
        try:
            wait_until(lambda: is_ready(client), 30, "Prometheus did not start", lambda: "")
            yield client
        finally:
            process.terminate()


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def configure(stack: RunningStack) -> dict[str, Any]:
    """The project's configuration, with addresses in place of the containers' names."""
    configuration: dict[str, Any] = yaml.safe_load((OPS / "prometheus.yml").read_text())
    configuration["rule_files"] = [str(OPS / name) for name in configuration["rule_files"]]
    ports = {"crud": stack.crud_port, "numbering": stack.numbering_port}
    configuration["scrape_configs"] = [
        {"job_name": job, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
        for job, port in ports.items()
    ]
    return configuration


def use(stack: RunningStack, seconds: float) -> None:
    """Write, search and follow for some seconds; the worker is killed halfway."""
    over = threading.Event()
    people = Users(stack, over)
    work = [*[people.write] * WRITERS, *[people.search] * SEARCHERS, *[people.follow] * FOLLOWERS]
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    try:
        time.sleep(seconds - MINUTES * 30)
        stack.kill("worker")
        time.sleep(MINUTES * 30)
    finally:
        over.set()
        for thread in threads:
            thread.join()


class Users:
    """What people do in one chat, each in a thread, until it is over."""

    def __init__(self, stack: RunningStack, over: threading.Event):
        self.over = over
        self.client = httpx.Client(
            trust_env=False, timeout=30, limits=httpx.Limits(max_connections=50)
        )
        made = self.client.post(f"{stack.crud_url}/applications", json={"name": "Dashboard"})
        path = f"/applications/{made.json()['access_token']}/chats"
        self.client.post(f"{stack.numbering_url}{path}")
        self.posts = f"{stack.numbering_url}{path}/1/messages"
        self.reads = f"{stack.crud_url}{path}/1/messages"

    def write(self) -> None:
        while not self.over.wait(PAUSE_SECONDS):
            self.client.post(self.posts, json={"body": f"Hello at {time.time()}"})

    def search(self) -> None:
        while not self.over.wait(PAUSE_SECONDS * 5):
            self.client.get(f"{self.reads}/search", params={"keyword": "ello", "limit": 10})

    def follow(self) -> None:
        while not self.over.is_set():
            with self.client.stream("GET", f"{self.reads}/stream") as events:
                for _ in events.iter_lines():
                    if self.over.is_set():
                        return


def dashboard_panels() -> list[Mapping[str, Any]]:
    """The panels of Grafana's dashboard that show something over time."""
    panels = orjson.loads(DASHBOARD.read_bytes())["panels"]
    return [panel for panel in panels if panel["type"] == "timeseries"]


def query(client: httpx.Client, panel: Mapping[str, Any], start: float, end: float) -> Panel:
    """Evaluate the queries of a panel."""
    lines = [line for target in panel["targets"] for line in evaluate(client, target, start, end)]
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    say(f"{panel['title']}: {len(lines)} lines")
    return Panel(panel["title"], lines, "s" if unit == "s" else "")


def evaluate(
    client: httpx.Client, target: Mapping[str, Any], start: float, end: float
) -> Iterator[Line]:
    """One line for each series of a query's result."""
    parameters = {"query": target["expr"], "start": start, "end": end, "step": 5}
    answer = client.get("/api/v1/query_range", params=parameters)
    answer.raise_for_status()
    for series in answer.json()["data"]["result"]:
        name = target["legendFormat"]
        for label, value in series["metric"].items():
            name = name.replace(f"{{{{{label}}}}}", value)
        values = [(at - start, float(value)) for at, value in series["values"] if value != "NaN"]
        if values:
            yield Line(name, values)
