"""Reads the manifests for Kubernetes, as far as tests ask about them."""

from pathlib import Path
from typing import Any

import yaml

from local_stack.applications import ROOT
from tests.integration.containers.dockerfile import Stage, read_stages

BASE = ROOT / "ops" / "kubernetes" / "base"
EXAMPLE = ROOT / "ops" / "kubernetes" / "example"

Manifest = dict[str, Any]


def read_kustomization(folder: Path) -> Manifest:
    """Return what a folder's kustomization says."""
    kustomization: Manifest = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return kustomization


def read_manifests(folder: Path) -> list[Manifest]:
    """Return every object of a folder, without its kustomization."""
    files = sorted(set(folder.glob("*.yaml")) - {folder / "kustomization.yaml"})
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text())]


def of_kind(kind: str) -> dict[str, Manifest]:
    """Return the objects of a kind in the base, by name."""
    found = [it for it in read_manifests(BASE) if it["kind"] == kind]
    return {it["metadata"]["name"]: it for it in found}


def pod_of(workload: Manifest) -> Manifest:
    """Return the specification of a workload's pods."""
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


def containers_of(workload: Manifest) -> list[Manifest]:
    """Return the containers of a workload's pods, those that run before it starts included."""
    pod = pod_of(workload)
    return [*pod.get("initContainers", []), *pod["containers"]]


def read_settings() -> dict[str, dict[str, str]]:
    """Return the values of each ConfigMap, as the example has them."""
    settings: dict[str, dict[str, str]] = {}
    for folder in (BASE, EXAMPLE):
        for generator in read_kustomization(folder)["configMapGenerator"]:
            values = dict(line.split("=", 1) for line in generator["literals"])
            settings.setdefault(generator["name"], {}).update(values)
    return settings


def read_secrets() -> dict[str, dict[str, str]]:
    """Return the values of each Secret of the example."""
    secrets = {}
    for generator in read_kustomization(EXAMPLE)["secretGenerator"]:
        (file,) = generator["envs"]
        lines = (EXAMPLE / file).read_text().splitlines()
        values = [line.split("=", 1) for line in lines if not line.startswith("#")]
        secrets[generator["name"]] = dict(values)
    return secrets


def environment_of(container: Manifest) -> dict[str, str]:
    """Return the environment that a container has with the example's settings and secrets."""
    environment: dict[str, str] = {}
    for source in container["envFrom"]:
        if "configMapRef" in source:
            environment |= read_settings()[source["configMapRef"]["name"]]
        else:
            environment |= read_secrets()[source["secretRef"]["name"]]
    return environment


def image_of(container: Manifest) -> str:
    """Return the part of an image's name that its Dockerfile has, too."""
    image: str = container["image"]
    return image.removeprefix("chat-")


def stages_of(container: Manifest) -> list[Stage]:
    """Return the stages of the image that a container runs."""
    return read_stages(ROOT / f"Dockerfile.{image_of(container)}")


def main_container(name: str) -> Manifest:
    """Return the container of a workload that is named like it."""
    (container,) = pod_of(WORKLOADS[name])["containers"]
    assert isinstance(container, dict)
    return container


DEPLOYMENTS = of_kind("Deployment")
WORKLOADS = DEPLOYMENTS | of_kind("Job")
SERVICES = of_kind("Service")
