"""The manifests for Kubernetes agree with the code, the images and the guide."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from fastapi.routing import APIRoute

from crud_service.schema.openapi import openapi_document
from local_stack.applications import ROOT
from numbering_service.main import NumberingService
from numbering_service.settings import Settings
from tests.integration.containers.manifests import (
    BASE,
    DEPLOYMENTS,
    EXAMPLE,
    SERVICES,
    WORKLOADS,
    Manifest,
    containers_of,
    environment_of,
    image_of,
    main_container,
    of_kind,
    pod_of,
    read_kustomization,
    read_manifests,
    read_secrets,
    read_settings,
    stages_of,
)

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
# What the guide allows a process between SIGTERM and its end.
STOP_SECONDS = 10

on_workloads = pytest.mark.parametrize("name", WORKLOADS)
on_deployments = pytest.mark.parametrize("name", DEPLOYMENTS)
on_services = pytest.mark.parametrize("name", SERVICES)


def labels_of(name: str) -> Manifest:
    labels: Manifest = WORKLOADS[name]["spec"]["template"]["metadata"]["labels"]
    return labels


def selected_by(selector: Manifest) -> list[str]:
    """Return whose pods a selector selects."""
    return [name for name in WORKLOADS if selector.items() <= labels_of(name).items()]


def test_the_parts_are_those_of_compose() -> None:
    assert WORKLOADS.keys() == {name for name, it in COMPOSE.items() if "chat-" in it["image"]}


@pytest.mark.parametrize("folder", [BASE, EXAMPLE])
def test_every_file_is_a_resource(folder: Path) -> None:
    resources = set(read_kustomization(folder)["resources"]) - {"../base"}
    files = {path.name for path in folder.glob("*.yaml")}
    assert resources == files - {"kustomization.yaml"}


@on_workloads
def test_a_container_runs_what_its_image_has(name: str) -> None:
    for container in containers_of(WORKLOADS[name]):
        probe = container.get("readinessProbe", {}).get("exec", {}).get("command", [])
        copied = {line.split("/")[0] for line in stages_of(container)[0].all("COPY")}
        modules = re.findall(r"python -m ([\w.]+)", " ".join([*container["command"], *probe]))
        assert modules
        for module in modules:
            assert find_spec(module), module
            assert module.partition(".")[0] in copied


def test_the_migration_is_that_of_compose() -> None:
    assert main_container("migrate")["command"] == COMPOSE["migrate"]["command"]


@on_deployments
def test_what_uses_the_tables_waits_for_the_migration(name: str) -> None:
    waiting = [" ".join(it["command"]) for it in pod_of(WORKLOADS[name]).get("initContainers", [])]
    uses_tables = image_of(main_container(name)) == "crud"
    assert ["crud_service.manage migrate --check" in it for it in waiting] == [True] * uses_tables


def test_the_wait_ends_with_the_migration(database_url: str, migrated_database_url: str) -> None:
    module = re.search(r"python -m (.+?);", containers_of(WORKLOADS["crud"])[0]["command"][-1])
    codes = [
        subprocess.run(
            [sys.executable, "-m", *module[1].split()],
            cwd=ROOT, env={**os.environ, "DATABASE_URL": url, "LOCAL_STACK": "1"},
            capture_output=True, check=False,
        ).returncode
        for url in (database_url, migrated_database_url)
    ]  # fmt: skip
    assert codes == [1, 0]


@on_services
def test_the_port_is_the_same_in_the_image_and_in_the_manifests(name: str) -> None:
    container, (port,) = main_container(name), SERVICES[name]["spec"]["ports"]
    (exposed,) = container["ports"]
    assert str(exposed["containerPort"]) == stages_of(container)[-1].last("EXPOSE")
    assert port["port"] == exposed["containerPort"]
    assert port["targetPort"] == exposed["name"]


def served_by(name: str) -> set[str]:
    if name == "crud":
        return set(openapi_document(admin_token=False)["paths"])
    routes = NumberingService(Settings.from_env({})).api.routes
    return {route.path for route in routes if isinstance(route, APIRoute)}


@on_services
def test_probes_ask_for_the_paths_of_the_guide(name: str) -> None:
    container = main_container(name)
    paths = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "liveness", "readiness")
    }
    live, ready = "/health/live", "/health/ready"
    assert paths == {"startup": live, "liveness": live, "readiness": ready}
    assert {live, ready} <= served_by(name)
    assert container["readinessProbe"]["httpGet"]["port"] == container["ports"][0]["name"]


def test_the_worker_is_ready_as_in_compose_and_not_restarted_for_its_stores() -> None:
    worker = main_container("worker")
    probe = worker["readinessProbe"]["exec"]["command"]
    assert ["CMD", *probe] == COMPOSE["worker"]["healthcheck"]["test"]
    assert "livenessProbe" not in worker


def test_a_restart_of_redis_is_waited_out_before_pods_are_not_ready() -> None:
    numbering = main_container("numbering")
    probe = numbering["readinessProbe"]
    ready_seconds = probe["periodSeconds"] * (probe["failureThreshold"] - 1)
    assert ready_seconds > int(environment_of(numbering)["REDIS_PATIENCE_SECONDS"])


@on_workloads
def test_a_process_has_the_time_to_stop(name: str) -> None:
    hook = main_container(name).get("lifecycle", {}).get("preStop", {}).get("exec", {})
    asleep = int(hook["command"][1]) if hook else 0
    assert pod_of(WORKLOADS[name])["terminationGracePeriodSeconds"] > asleep + STOP_SECONDS


@on_services
def test_connections_are_accepted_until_the_endpoint_is_removed(name: str) -> None:
    hook = main_container(name)["lifecycle"]["preStop"]
    assert hook["exec"]["command"][0] == "sleep"


@on_deployments
def test_a_deployment_selects_its_own_pods_and_spreads_them(name: str) -> None:
    spec = DEPLOYMENTS[name]["spec"]
    assert selected_by(spec["selector"]["matchLabels"]) == [name]
    assert spec["replicas"] >= 2
    (spread,) = pod_of(DEPLOYMENTS[name])["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert selected_by(spread["labelSelector"]["matchLabels"]) == [name]
    replaced_one_by_one = "rollingUpdate" in spec["strategy"]
    assert spread.get("matchLabelKeys", []) == ["pod-template-hash"] * replaced_one_by_one


def test_a_rollout_has_failed_when_the_guide_stops_waiting_for_it() -> None:
    guide = (ROOT / "docs" / "kubernetes.md").read_text()
    (minutes,) = re.findall(r"rollout status .*--timeout=(\d+)m", guide)
    waiting = [it["spec"] for it in DEPLOYMENTS.values() if "initContainers" in pod_of(it)]
    assert waiting
    assert {it["progressDeadlineSeconds"] for it in waiting} == {int(minutes) * 60}


@on_services
def test_a_service_selects_the_pods_of_its_name(name: str) -> None:
    assert selected_by(SERVICES[name]["spec"]["selector"]) == [name]


@on_deployments
def test_an_eviction_leaves_a_pod_of_each_deployment(name: str) -> None:
    budget = of_kind("PodDisruptionBudget")[name]["spec"]
    assert selected_by(budget["selector"]["matchLabels"]) == [name]
    assert 0 < budget["maxUnavailable"] < DEPLOYMENTS[name]["spec"]["replicas"]


@on_workloads
def test_no_pod_has_privileges(name: str) -> None:
    pod = pod_of(WORKLOADS[name])
    security = pod["securityContext"]
    user = stages_of(main_container(name))[-1].last("USER")
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == user
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in containers_of(WORKLOADS[name]):
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }


@on_workloads
def test_memory_is_limited_as_in_compose(name: str) -> None:
    size = f"{COMPOSE[name]['mem_limit']}i".upper().replace("I", "i")
    (tmp,) = COMPOSE[name]["tmpfs"]
    (volume,) = pod_of(WORKLOADS[name])["volumes"]
    assert f"size={volume['emptyDir']['sizeLimit'].removesuffix('Mi')}m" in tmp
    for container in containers_of(WORKLOADS[name]):
        assert container["resources"]["limits"] == {"memory": size}
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tmp"}]


def test_what_is_for_operators_has_no_public_address() -> None:
    (ingress,) = (it for it in read_manifests(EXAMPLE) if it["kind"] == "Ingress")
    hosts = {rule["host"]: rule["http"]["paths"] for rule in ingress["spec"]["rules"]}
    assert f"https://{next(iter(hosts))}" == read_settings()["shared-settings"]["CRUD_PUBLIC_URL"]
    assert ingress["spec"]["tls"][0]["hosts"] == list(hosts)
    public = {"/applications", "/docs", "/openapi.json"}
    for paths, name in zip(hosts.values(), ("crud", "numbering"), strict=True):
        pages = {"/admin", "/static"} if name == "crud" else set()
        assert {it["path"] for it in paths} == public | pages
        (port,) = SERVICES[name]["spec"]["ports"]
        service = {"name": name, "port": {"name": port["name"]}}
        assert all(it["backend"] == {"service": service} for it in paths)


def test_a_change_whose_response_is_lost_is_not_sent_again() -> None:
    (ingress,) = (it for it in read_manifests(EXAMPLE) if it["kind"] == "Ingress")
    annotations = ingress["metadata"]["annotations"]
    # YAML would read it as false, which no annotation may be.
    assert annotations["nginx.ingress.kubernetes.io/proxy-next-upstream"] == "off"


def test_the_example_names_each_image_with_a_version() -> None:
    images = read_kustomization(EXAMPLE)["images"]
    used = {it["image"] for workload in WORKLOADS.values() for it in containers_of(workload)}
    assert {it["name"] for it in images} == used
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", it["newTag"]) for it in images)


def test_kustomize_builds_the_example() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("NO KUBECTL: the manifests were read, and not built")
    done = subprocess.run(
        ["kubectl", "kustomize", str(EXAMPLE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    generated = len(read_settings()) + len(read_secrets())
    assert len(built) == len([*read_manifests(BASE), *read_manifests(EXAMPLE)]) + generated
