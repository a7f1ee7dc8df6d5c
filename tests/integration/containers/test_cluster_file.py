"""docker-compose.cluster.yml over the plain file: it agrees with the code, and is as closed."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_stack.applications import ROOT
from local_stack.cluster.cluster_stack import DEFAULTS, NODE_TIMEOUT_MS, SERVERS
from local_stack.stores import postgres, standby, valkey
from local_stack.stores.valkey_cluster import node_settings
from tests.integration.containers.hardening import assert_without_privileges_and_bounded
from tests.integration.containers.settings_read import IN_IMAGE, LOCAL_ONLY, SETTINGS, read_by
from tests.nginx import require_nginx

CLUSTER = ROOT / "docker-compose.cluster.yml"
SCRIPTS = sorted((ROOT / "ops" / "cluster").glob("*.sh"))
ONE_SHOTS = {"migrate", "form-cluster", "follow"}


class Loader(yaml.SafeLoader):
    """Reads what compose adds to YAML: `!reset` and `!override` replace instead of merging."""


class Replacement(list[Any]):
    """A list that takes the place of another one."""


def replacement(loader: Loader, node: yaml.Node) -> Replacement:
    assert isinstance(node, yaml.SequenceNode)
    return Replacement(loader.construct_sequence(node))


for tag in ("!reset", "!override"):
    Loader.add_constructor(tag, replacement)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(path.read_text(), Loader)  # noqa: S506 - a safe loader
    return document


def merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return a service as compose merges it: maps by keys, published ports and volumes as a sum."""
    merged = dict(base)
    for name, value in own.items():
        if isinstance(value, dict):
            merged[name] = merge(base.get(name, {}), value)
        elif name in {"ports", "volumes"} and not isinstance(value, Replacement):
            merged[name] = [*base.get(name, []), *value]
        else:
            merged[name] = value
    return merged


def services() -> dict[str, Any]:
    """All services as compose runs them with both files."""
    plain, own = read(ROOT / "docker-compose.yml")["services"], read(CLUSTER)["services"]
    found = dict(plain)
    for name, service in own.items():
        source = service.get("extends", {}).get("service")
        found[name] = merge(plain.get(source or name, {}), service)
    return found


ALL = services()
on_nodes = pytest.mark.parametrize("name", SERVERS)


@pytest.mark.parametrize("service", ["migrate", "crud", "worker", "numbering"])
def test_every_setting_of_the_code_is_given_and_no_other(service: str) -> None:
    module = SETTINGS["numbering" if service == "numbering" else "crud"]
    assert set(ALL[service]["environment"]) == read_by(module) - IN_IMAGE - LOCAL_ONLY


@pytest.mark.parametrize("service", ["migrate", "crud", "worker", "numbering"])
def test_every_service_is_configured_for_the_cluster(service: str) -> None:
    given = ALL[service]["environment"]
    for name, default in DEFAULTS.items():
        if name in given:
            assert given[name] == f"${{{name}:-{default}}}"
    assert given["REDIS_URL"] == "redis://valkey-1:6379/0"
    assert given["BROKER_URL"] == "redis://valkey:6379/0"
    waited = {"form-cluster", "follow"} & ALL[service]["depends_on"].keys()
    assert waited == {"form-cluster", "follow"}


@pytest.mark.parametrize("service", ALL)
def test_every_container_is_without_privileges_and_bounded(service: str) -> None:
    assert_without_privileges_and_bounded(service, ALL[service])


def test_the_proxy_alone_is_reached_from_outside_and_on_the_loopback_interface() -> None:
    published = {name: it["ports"] for name, it in ALL.items() if it.get("ports")}
    monitoring = {name for name, it in ALL.items() if "profiles" in it}
    assert published.keys() - monitoring == {"proxy"}
    for name, port in zip(("CRUD", "NUMBERING"), published["proxy"], strict=True):
        assert port.startswith(f"${{BIND_ADDRESS:-127.0.0.1}}:${{{name}_PORT:-")
    assert "stores" not in ALL["proxy"]["networks"]


def test_its_data_is_not_that_of_the_plain_stack() -> None:
    assert read(CLUSTER)["name"] != read(ROOT / "docker-compose.yml")["name"]
    named = {it["volumes"][-1].partition(":")[0] for name, it in ALL.items() if name in SERVERS}
    assert named == set(SERVERS)


def test_every_long_running_service_has_a_health_check() -> None:
    for name, service in ALL.items():
        if "profiles" not in service and name not in ONE_SHOTS:
            assert service.get("healthcheck") or name in {"crud", "numbering"}, name


def test_every_image_of_others_has_a_version() -> None:
    images = {it["image"] for it in ALL.values() if "chat-" not in it["image"]}
    assert [image for image in images if not re.search(r":v?\d", image)] == []


def test_there_are_two_of_each_of_ours() -> None:
    copies = {name: it["deploy"]["replicas"] for name, it in ALL.items() if "deploy" in it}
    assert copies == {"crud": 2, "worker": 2, "numbering": 2}


@on_nodes
def test_a_server_of_the_cluster_is_configured_like_the_embedded_ones(name: str) -> None:
    words = ALL[name]["command"][1:]
    given = {key.removeprefix("--"): value for key, value in zip(*[iter(words)] * 2, strict=True)}
    plain = ALL["valkey"]["command"][1:]
    wanted = dict(zip(*[iter(plain)] * 2, strict=True))
    assert {key: given[key.removeprefix("--")] for key in wanted} == wanted
    own = node_settings(0, NODE_TIMEOUT_MS)
    del own["cluster-port"]
    assert {key: given[key] for key in own} == own
    assert given["appendfsync"] == valkey.SETTINGS["appendfsync"]
    assert ALL[name]["hostname"] == name


def test_both_servers_of_postgresql_are_configured_alike_and_like_the_plain_one() -> None:
    command = ALL["postgres"]["command"]
    assert ALL["standby"]["command"] == command
    given = dict(word.split("=", 1) for word in command if "=" in word)
    assert given.pop("hba_file").endswith("pg_hba.conf")
    known = {**postgres.SETTINGS, **standby.KEPT}
    assert given == {name: known[name] for name in given}
    plain = read(ROOT / "docker-compose.yml")["services"]["postgres"]["command"]
    assert set(plain) <= set(command)


def test_commits_wait_for_the_standby_as_in_the_local_stack() -> None:
    follow = ALL["follow"]["command"]
    wanted = f"ALTER SYSTEM SET synchronous_standby_names = '{standby.WAIT_FOR_ANY}'"
    assert f"--command={wanted}" in follow
    assert f"PGAPPNAME={standby.NAME} " in (ROOT / "ops/cluster/start-standby.sh").read_text()


def test_a_standby_that_has_data_follows_with_the_present_password(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("18\n")
    (tmp_path / "docker-entrypoint.sh").symlink_to("/bin/echo")
    done = subprocess.run(
        ["sh", ROOT / "ops" / "cluster" / "start-standby.sh", *ALL["standby"]["command"]],
        env={"PATH": f"{tmp_path}:{os.defpath}", "PGDATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    connection = f"host=postgres user=postgres application_name={standby.NAME}"
    assert done.stdout.endswith(f" -c primary_conninfo={connection}\n")
    assert "PGPASSWORD" in ALL["standby"]["environment"]


def test_files_that_are_mounted_exist() -> None:
    mounted = {
        volume.partition(":")[0]
        for it in ALL.values()
        for volume in it.get("volumes", [])
        if volume.startswith("./ops/cluster")
    }
    assert {(ROOT / name).resolve() for name in mounted} == set((ROOT / "ops/cluster").iterdir())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_one_for_any_shell(path: Path) -> None:
    done = subprocess.run(["sh", "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_proxy_treats_requests_as_the_documented_one_does() -> None:
    kinds = r"proxy_(?!pass|temp).*|client_max_body_size.*|error_page.*|if .*"
    pattern = re.compile(rf"^ *({kinds})(?:;|; }})$", re.MULTILINE)
    documented = pattern.findall((ROOT / "ops" / "nginx.conf").read_text())
    own = pattern.findall((ROOT / "ops" / "cluster" / "nginx.conf").read_text())
    assert sorted(own) == sorted(documented)


def test_nginx_accepts_the_configuration_of_the_proxy(tmp_path: Path) -> None:
    configuration = str(ROOT / "ops" / "cluster" / "nginx.conf")
    command = [require_nginx(), "-t", "-p", f"{tmp_path}/", "-c", configuration]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
