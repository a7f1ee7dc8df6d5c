"""The manifests for Kubernetes give the settings of the code, and secrets apart from them."""

import os
import re
import subprocess
import sys

import pytest

from local_stack.applications import ROOT
from tests.integration.containers.manifests import (
    SERVICES,
    WORKLOADS,
    containers_of,
    environment_of,
    image_of,
    main_container,
    pod_of,
    read_secrets,
    read_settings,
    stages_of,
)
from tests.integration.containers.settings_read import IN_IMAGE, LOCAL_ONLY, SETTINGS, read_by

# Addresses have passwords in them.
SECRET = re.compile(r"(TOKEN|KEY|PASSWORD)$|^(DATABASE|REDIS|BROKER|ELASTICSEARCH)\w*_URL$")

on_workloads = pytest.mark.parametrize("name", WORKLOADS)


@on_workloads
def test_every_setting_of_the_code_is_given_and_no_other(name: str) -> None:
    for container in containers_of(WORKLOADS[name]):
        read = read_by(SETTINGS[image_of(container)])
        assert environment_of(container).keys() == read - IN_IMAGE - LOCAL_ONLY


def test_no_secret_is_among_the_settings() -> None:
    settings = {name for values in read_settings().values() for name in values}
    secrets = {name for values in read_secrets().values() for name in values}
    assert {name for name in settings if SECRET.search(name)} == set()
    assert {name for name in secrets if not SECRET.search(name)} == set()


def test_the_example_has_no_secrets_of_its_own() -> None:
    assert {value for values in read_secrets().values() for value in values.values()} == {""}


def start(name: str, **secrets: str) -> subprocess.CompletedProcess[str]:
    """Have the program of a container check its environment, which is that of the example."""
    container = main_container(name)
    program = {
        "crud": ["-m", "crud_service.manage", "check"],
        "numbering": ["-c", "from numbering_service.settings import Settings; Settings.from_env()"],
    }
    image = stages_of(container)[-1].environment
    kept = {"PATH": os.environ["PATH"], "CONTAINER": image["CONTAINER"]}
    return subprocess.run(
        [sys.executable, *program[image_of(container)]],
        cwd=ROOT, env=kept | environment_of(container) | secrets,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@on_workloads
def test_the_empty_secrets_of_the_example_are_refused(name: str) -> None:
    done = start(name)
    assert done.returncode != 0
    required = {"INTERNAL_TOKEN", "SECRET_KEY", "ADMIN_PASSWORD"} & environment_of(
        main_container(name)
    ).keys()
    assert required <= set(re.findall(r"\b[A-Z_]{4,}\b", done.stderr))


@on_workloads
def test_the_settings_are_accepted_with_secrets(name: str) -> None:
    given = {
        secret: f"{secret.lower()}-of-our-own"
        for secret in environment_of(main_container(name))
        if re.search(r"TOKEN|KEY|PASSWORD", secret)
    }
    given["DATABASE_URL"] = "postgresql://chat:our-own@postgresql.example.com:5432/chat"
    given["REDIS_URL"] = "redis://redis.example.com:6379/0"
    done = start(name, **given)
    assert done.returncode == 0, done.stderr


def test_numbering_finds_crud_by_its_service() -> None:
    (port,) = SERVICES["crud"]["spec"]["ports"]
    url = environment_of(main_container("numbering"))["CRUD_URL"]
    assert url == f"http://crud:{port['port']}"


def test_no_service_changes_a_setting() -> None:
    """Services put variables such as CRUD_PORT into pods, unless told otherwise."""
    for name in WORKLOADS:
        assert pod_of(WORKLOADS[name])["enableServiceLinks"] is False, name
