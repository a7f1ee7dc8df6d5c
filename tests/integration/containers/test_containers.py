"""The compose files and Dockerfiles agree with the code and with each other."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_stack.applications import ROOT
from local_stack.stores import postgres, valkey
from tests.integration.containers.dockerfile import Stage, read_stages
from tests.integration.containers.hardening import assert_without_privileges_and_bounded
from tests.integration.containers.settings_read import IN_IMAGE, LOCAL_ONLY, SETTINGS, read_by

PLAIN = ROOT / "docker-compose.yml"
PRODUCTION = ROOT / "docker-compose.production.yml"
SERVICES: dict[str, Any] = yaml.safe_load(PLAIN.read_text())["services"]
OURS = ("migrate", "crud", "worker", "numbering")
SECRETS = {"POSTGRES_PASSWORD", "INTERNAL_TOKEN", "SECRET_KEY", "ADMIN_PASSWORD", "ADMIN_TOKEN"}


def stage(service: str) -> Stage:
    """The last stage of the image that a service runs."""
    image = SERVICES[service]["image"].removeprefix("chat-")
    return read_stages(ROOT / f"Dockerfile.{image}")[-1]


def variables(text: str) -> set[str]:
    """The names that compose fills in from .env or the environment."""
    return set(re.findall(r"\$\{([A-Z_]+)", text))


@pytest.mark.parametrize("service", OURS)
def test_every_setting_of_the_code_is_in_the_compose_file_and_no_other(service: str) -> None:
    module = SETTINGS["numbering" if service == "numbering" else "crud"]
    given = set(SERVICES[service]["environment"])
    assert given == read_by(module) - IN_IMAGE - LOCAL_ONLY
    assert set(stage(service).environment) & IN_IMAGE == read_by(module) & IN_IMAGE


def test_the_example_lists_every_setting_and_no_other() -> None:
    text = (ROOT / ".env.example").read_text()
    listed = set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE))
    read = set().union(*(read_by(module) for module in (*SETTINGS.values(), "local_stack.stack")))
    assert listed == read | variables(PLAIN.read_text()) | variables(PRODUCTION.read_text())


def test_every_setting_of_the_example_has_a_comment() -> None:
    for block in (ROOT / ".env.example").read_text().split("\n\n"):
        lines = block.splitlines()
        assert lines[0].startswith("# "), block


@pytest.mark.parametrize("service", OURS)
def test_every_command_is_a_module_that_the_image_has(service: str) -> None:
    check = SERVICES[service].get("healthcheck", {}).get("test", [])
    command = " ".join([*SERVICES[service].get("command", stage(service).command), *check])
    copied = {line.split()[0].strip("/") for line in copies(service)}
    modules = re.findall(r"python -m ([\w.]+)", command)
    assert modules
    for module in modules:
        assert find_spec(module), module
        assert module.partition(".")[0] in copied


def copies(service: str) -> list[str]:
    """What the first stage of a service's image copies from the repository."""
    image = SERVICES[service]["image"].removeprefix("chat-")
    return read_stages(ROOT / f"Dockerfile.{image}")[0].all("COPY")


def test_files_copied_by_the_dockerfiles_reach_the_builder() -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert kept == {line.split()[0] for service in OURS for line in copies(service)}


def test_migrate_runs_commands_that_exist() -> None:
    command = " ".join(SERVICES["migrate"]["command"])
    known = subprocess.run(
        [sys.executable, "-m", "crud_service.manage", "help", "--commands"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert set(re.findall(r"crud_service\.manage (\w+)", command)) <= set(known)


@pytest.mark.parametrize(("service", "port"), [("crud", "3000"), ("numbering", "8080")])
def test_the_port_is_the_same_in_the_image_and_in_compose(service: str, port: str) -> None:
    image = stage(service)
    assert image.last("EXPOSE") == port
    assert image.environment[f"{service.upper()}_PORT"] == port
    assert SERVICES[service]["ports"][0].endswith(f":{port}")
    assert f"{service.upper()}_PORT" in image.health_check[-1]


def test_only_two_ports_are_published_and_on_the_loopback_interface() -> None:
    published = {
        name: it["ports"] for name, it in SERVICES.items() if "ports" in it and "profiles" not in it
    }
    assert published.keys() == {"crud", "numbering"}
    for name, (port,) in published.items():
        assert port.startswith(f"${{BIND_ADDRESS:-127.0.0.1}}:${{{name.upper()}_PORT:-")


def test_the_stores_have_an_internal_network() -> None:
    networks = yaml.safe_load(PLAIN.read_text())["networks"]
    assert networks["stores"]["internal"] is True
    for store in ("postgres", "valkey", "elasticsearch"):
        assert SERVICES[store]["networks"] == ["stores"]


def test_every_long_running_service_has_a_health_check() -> None:
    images = {"crud", "numbering"}
    for name, service in SERVICES.items():
        if "profiles" in service or name == "migrate":
            continue
        assert "healthcheck" in service or name in images, name


def test_nothing_waits_for_elasticsearch() -> None:
    for name, service in SERVICES.items():
        assert "elasticsearch" not in service.get("depends_on", {}), name


@pytest.mark.parametrize("service", SERVICES)
def test_every_container_is_without_privileges_and_bounded(service: str) -> None:
    assert_without_privileges_and_bounded(service, SERVICES[service])


@pytest.mark.parametrize("service", OURS)
def test_our_containers_do_not_run_as_root(service: str) -> None:
    assert stage(service).last("USER") == "10001:10001"


@pytest.mark.parametrize("store", ["postgres", "valkey"])
def test_a_store_runs_as_its_images_user_from_the_start(store: str) -> None:
    assert SERVICES[store]["user"] == "999:999"


def test_postgresql_may_have_a_process_for_each_connection() -> None:
    words = [word for word in SERVICES["postgres"]["command"] if "=" in word]
    given = dict(word.split("=", 1) for word in words)
    assert SERVICES["postgres"]["pids_limit"] > int(given["max_connections"]) + 20


def test_no_container_asks_for_what_a_machine_may_not_grant() -> None:
    assert [name for name, it in SERVICES.items() if "ulimits" in it] == []


def test_our_images_are_built_by_one_service_and_never_pulled() -> None:
    for name in OURS:
        it = SERVICES[name]
        assert ("build" in it) != (it.get("pull_policy") == "never"), name


@pytest.mark.parametrize("name", ["Dockerfile.crud", "Dockerfile.numbering"])
def test_the_images_install_by_hash_and_leave_pip_behind(name: str) -> None:
    build, final = read_stages(ROOT / name)
    installs = [line for line in build.all("RUN") if "pip" in line and " install " in line]
    assert installs
    assert all("--require-hashes --only-binary :all:" in install for install in installs)
    assert "pip uninstall" in final.all("RUN")[0]
    assert final.environment["CONTAINER"] == "1"


def test_valkey_is_configured_like_the_embedded_one() -> None:
    command = SERVICES["valkey"]["command"][1:]
    given = {
        name.removeprefix("--"): value for name, value in zip(*[iter(command)] * 2, strict=True)
    }
    promises = {"appendonly", "appendfsync", "save", "aof-load-truncated", "maxmemory-policy",
                "no-appendfsync-on-rewrite"}  # fmt: skip
    assert {name: given[name] for name in promises} == {
        name: valkey.SETTINGS[name] for name in promises
    }
    assert given["maxmemory"] == f"${{VALKEY_MAXMEMORY:-{valkey.SETTINGS['maxmemory']}}}"


def test_postgresql_is_configured_like_the_embedded_one() -> None:
    words = [word for word in SERVICES["postgres"]["command"] if "=" in word]
    given = dict(word.split("=", 1) for word in words)
    assert given == {name: postgres.SETTINGS[name] for name in given}
    arguments = set(SERVICES["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split())
    assert arguments <= set(postgres.initdb_command(Path()))


def test_elasticsearch_has_the_version_of_its_client() -> None:
    lock = (ROOT / "requirements" / "crud.txt").read_text()
    (line,) = re.findall(r"^elasticsearch==(\d+\.\d+)\.", lock, re.MULTILINE)
    assert re.search(r":(\d+\.\d+)\.\d+$", SERVICES["elasticsearch"]["image"])[1] == line


def test_production_requires_every_secret() -> None:
    text = PRODUCTION.read_text()
    assert set(re.findall(r"\$\{([A-Z_]+):\?", text)) >= SECRETS
    services = yaml.safe_load(text)["services"]
    for name in OURS:
        assert services[name]["environment"]["LOCAL_STACK"] == "0"


def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config`; skips with a loud line where the plugin is not installed."""
    docker = shutil.which("docker") or "docker"
    ours = variables(PLAIN.read_text()) | variables(PRODUCTION.read_text())
    base = {name: value for name, value in os.environ.items() if name not in ours}
    probe = [docker, "compose", "version"]
    if (
        not shutil.which(docker)
        or subprocess.run(probe, capture_output=True, check=False).returncode
    ):
        pytest.skip("NO DOCKER COMPOSE: the compose files were read, and not checked by compose")
    command = [docker, "compose", "--env-file", os.devnull, *arguments, "config"]
    return subprocess.run(
        command, cwd=ROOT, env=base | environment, capture_output=True, text=True, check=False
    )


def test_compose_accepts_the_plain_file_without_an_env_file() -> None:
    done = compose("-f", PLAIN.name, "--profile", "monitoring")
    assert done.returncode == 0, done.stderr
    assert "variable is not set" not in done.stderr


def test_compose_refuses_production_without_its_secrets() -> None:
    files = ("-f", PLAIN.name, "-f", PRODUCTION.name)
    given = dict.fromkeys([*SECRETS, "CRUD_PUBLIC_URL"], "given")
    assert compose(*files, **given).returncode == 0
    for name in given:
        rest = {key: value for key, value in given.items() if key != name}
        done = compose(*files, **rest)
        assert done.returncode != 0
        assert name in done.stderr


@pytest.mark.parametrize("name", ["Dockerfile.crud", "Dockerfile.numbering"])
def test_hadolint_finds_nothing(name: str) -> None:
    hadolint = str(Path(sys.executable).parent / "hadolint")
    done = subprocess.run([hadolint, name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
