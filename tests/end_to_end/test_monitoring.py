"""Prometheus, its alerts and the dashboard ask for what the services really export."""

import re
import shutil
import subprocess
from collections.abc import Iterator

import httpx
import orjson
import pytest
import yaml

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api

OPS = ROOT / "ops"
DASHBOARD = OPS / "grafana" / "dashboards" / "chat.json"
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
# Added by Prometheus itself to what it scrapes.
OWN_LABELS = {"job", "le"}
# Exported with DATABASE_READ_URL alone: tests/integration/crud_server/test_replica.py asks for it.
WITH_A_REPLICA = "chat_replica_up"

pytestmark = pytest.mark.timeout(500)


@pytest.fixture(scope="module")
def exported(stack: RunningStack) -> dict[str, str]:
    """Return what each service exports after some use, including searches and the worker's work."""
    with httpx.Client(timeout=15, **PLAIN_HTTP) as client:
        api = Api(client, stack.crud_url, stack.numbering_url)
        chat = api.chat(api.application())
        api.message(chat, "Hello")
        api.wait_for_numbers(f"{chat}/messages/search?keyword=hello", [1])
        urls = {"crud": stack.crud_url, "numbering": stack.numbering_url}
        return {job: client.get(f"{url}/metrics").text for job, url in urls.items()}


def dashboard_expressions() -> Iterator[str]:
    for panel in orjson.loads(DASHBOARD.read_bytes())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def alert_expressions() -> Iterator[str]:
    for group in yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def selectors(expression: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Return each metric of an expression with its label matchers."""
    for name, labels in re.findall(r"(chat_\w+)(?:\{([^}]*)\})?", expression):
        yield name, dict(re.findall(r'(\w+)="([^"]*)"', labels))


def series(text: str, name: str, labels: dict[str, str]) -> list[str]:
    """Return the exported series that match a selector."""
    wanted = [f'{key}="{value}"' for key, value in labels.items() if key not in OWN_LABELS]
    lines = [line for line in text.splitlines() if re.match(rf"{name}[ {{]", line)]
    return [line for line in lines if all(each in line for each in wanted)]


@pytest.mark.parametrize("expression", [*dashboard_expressions()])
def test_the_dashboard_uses_series_that_exist(expression: str, exported: dict[str, str]) -> None:
    found = list(selectors(expression))
    assert found
    for name, labels in found:
        texts = [exported[labels["job"]]] if "job" in labels else exported.values()
        assert any(series(text, name, labels) for text in texts), (name, labels)


def test_answers_to_health_checks_are_not_taken_for_creations() -> None:
    """A probe runs every few seconds, faster than any creation, and fails while Redis is down."""
    check = {"job": "numbering", "method": "GET", "route": "/health/ready", "status": "503"}
    expressions = [*dashboard_expressions(), *alert_expressions()]
    found = [it for it in expressions if re.search(r'chat_http_\w+\{job="numbering"', it)]
    assert found
    for expression in found:
        matchers = re.findall(r'(\w+)=~?"([^"]*)"', expression)
        assert not all(re.fullmatch(wanted, check[name]) for name, wanted in matchers), expression


def test_the_dashboard_does_not_sum_totals_of_the_worker() -> None:
    """Each process of crud_service exports the worker's metrics; in a quotient this cancels out."""
    for expression in dashboard_expressions():
        assert not re.search(r"\bsum[^{/]*chat_persist_\w+_total", expression), expression


@pytest.mark.parametrize("expression", [*alert_expressions()])
def test_the_alerts_use_metrics_that_exist(expression: str, exported: dict[str, str]) -> None:
    for name, labels in selectors(expression):
        text = exported[labels.get("job", "crud")]
        assert name == WITH_A_REPLICA or series(text, name, {}), name


def test_prometheus_accepts_its_configuration_and_the_alerts() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("NO PROMTOOL: install prometheus to have its configuration checked by itself")
    command = [promtool, "check", "config", "prometheus.yml"]
    done = subprocess.run(command, cwd=OPS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def jobs() -> dict[str, list[dict[str, object]]]:
    """Return the names by which Prometheus finds containers, and their ports."""
    configured = yaml.safe_load((OPS / "prometheus.yml").read_text())["scrape_configs"]
    return {job["job_name"]: job["dns_sd_configs"] for job in configured}


def test_prometheus_scrapes_every_container_of_the_services() -> None:
    assert jobs().keys() == {"crud", "numbering"}
    for name, (found,) in jobs().items():
        assert found["names"] == [name]
        assert str(found["port"]) == SERVICES[name]["ports"][0].rpartition(":")[2]


def test_a_service_without_any_container_is_down() -> None:
    (expression,) = (each for each in alert_expressions() if each.startswith("up"))
    for name in jobs():
        assert f'absent(up{{job="{name}"}})' in expression


def test_every_file_that_monitoring_mounts_is_there() -> None:
    for service in ("prometheus", "grafana"):
        for volume in SERVICES[service]["volumes"]:
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), volume
