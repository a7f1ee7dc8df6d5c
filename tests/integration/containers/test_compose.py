"""`docker compose up --build` in a real engine: the stack works, survives, and keeps its data."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from chat_backend_client import Client, Retries
from local_stack.applications import ROOT
from local_stack.cluster.cluster_stack import SERVERS
from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api, new_chat
from tests.documents import Document
from tests.integration.containers.engine import (
    CLUSTER,
    HEALTHY_SECONDS,
    OURS,
    PLAIN,
    PRODUCTION,
    Stack,
    docker,
    read_base_images,
    require_engine,
)
from tests.polling import eventually, wait_until

SERVICES = ("numbering", "crud", "worker", "valkey", "postgres", "elasticsearch")
IN_CLUSTER = ("numbering", "crud", "worker", "valkey-1", "valkey-5", "postgres", "standby", "proxy")
WORKERS = 3
# What the override demands, none of it known to others.
SECRETS = {
    name: f"{name.lower().replace('_', '')}{'0123456789abcdef' * 2}"
    for name in (
        "POSTGRES_PASSWORD",
        "INTERNAL_TOKEN",
        "SECRET_KEY",
        "ADMIN_PASSWORD",
        "ADMIN_TOKEN",
    )
}
ADDRESS = "https://chat.example.com"

pytestmark = pytest.mark.timeout(900)


@contextmanager
def project(name: str, *files: str, **settings: str) -> Iterator[Stack]:
    """A compose project that leaves nothing behind but the images."""
    require_engine()
    stack = Stack(f"chat-test-{name}-{os.getpid()}", files, **settings)
    try:
        yield stack
    finally:
        stack.down("--volumes")


@pytest.fixture(scope="module")
def plain() -> Iterator[Stack]:
    """The plain file's stack, built from the tree as it is."""
    with project("plain", PLAIN) as stack:
        stack.up("--build")
        yield stack


@pytest.fixture
def api(plain: Stack) -> Iterator[Api]:
    with httpx.Client(timeout=15, **PLAIN_HTTP) as client:
        yield Api(client, plain.crud_url, plain.numbering_url)


def test_everything_is_ready_once_compose_says_that_it_is_up(plain: Stack, api: Api) -> None:
    for url in (plain.crud_url, plain.numbering_url):
        ready = api.client.get(f"{url}/health/ready").json()
        assert ready["status"] == "ok", ready
    assert plain.states("migrate") == ["exited"]


def test_the_documented_requests_work_against_the_containers(plain: Stack) -> None:
    Document("README.md").follow(plain)


def test_the_services_write_only_where_they_may(plain: Stack) -> None:
    for service in ("crud", "worker", "numbering"):
        done = plain.compose("exec", "-T", service, "touch", "/app/file")
        assert "Read-only file system" in done.stderr
        done = plain.compose("exec", "-T", service, "id", "-u")
        assert done.stdout.strip() == "10001"


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_is_restarted_and_loses_nothing(
    plain: Stack, api: Api, service: str
) -> None:
    chat = api.chat(api.application())
    before = [api.message(chat, f"before {number}") for number in range(20)]
    plain.crash(service)
    after = [api.message(chat, f"after {number}") for number in range(20)]
    assert before + after == list(range(1, 41))
    api.wait_for_numbers(f"{chat}/messages", before + after)
    api.wait_for_numbers(f"{chat}/messages/search?keyword=after&sort=number", after, 60)


def test_more_workers_store_everything_once(plain: Stack, api: Api) -> None:
    scaled = plain.compose("up", "--detach", "--no-recreate", "--scale", f"worker={WORKERS}")
    assert scaled.returncode == 0, scaled.stderr
    wait_until(lambda: plain.states("worker") == ["healthy"] * WORKERS, 60, plain.logs, pause=0.5)
    chat = api.chat(api.application())
    first = [api.message(chat, "with all workers") for _ in range(20)]
    plain.crash("worker")
    rest = [api.message(chat, "with one restarted") for _ in range(20)]
    api.wait_for_numbers(f"{chat}/messages", first + rest)
    counted = eventually(lambda: api.get(chat)["message_count"], lambda count: count == 40, 30)
    assert counted == 40


def test_a_stack_that_is_taken_down_keeps_its_data(plain: Stack, api: Api) -> None:
    application = api.application()
    chat = api.chat(application)
    numbers = [api.message(chat, "kept") for _ in range(20)]
    plain.down()
    assert plain.containers("crud") == []
    plain.up()
    api.wait_for_numbers(f"{chat}/messages", numbers)
    api.wait_for_numbers(f"{chat}/messages/search?keyword=kept&sort=number", numbers, 60)
    assert api.message(chat, "the next one") == 21
    assert api.chat(application) == f"{application}/chats/2"


@pytest.fixture(scope="module")
def production() -> Iterator[Stack]:
    """The production override with secrets of its own; nothing of it is started yet."""
    with project("production", PLAIN, PRODUCTION, CRUD_PUBLIC_URL=ADDRESS, **SECRETS) as stack:
        assert stack.compose("build").returncode == 0
        yield stack


@pytest.mark.parametrize(
    ("service", "secret", "known", "named"),
    [
        ("crud", "SECRET_KEY", "local", "SECRET_KEY"),
        ("crud", "INTERNAL_TOKEN", "local-internal-token", "INTERNAL_TOKEN"),
        ("crud", "ADMIN_PASSWORD", "local", "ADMIN_PASSWORD"),
        ("worker", "SECRET_KEY", "local", "SECRET_KEY"),
        ("migrate", "POSTGRES_PASSWORD", "local", "DATABASE_URL"),
        ("numbering", "INTERNAL_TOKEN", "local-internal-token", "INTERNAL_TOKEN"),
    ],
)
def test_production_refuses_a_known_secret(
    production: Stack, service: str, secret: str, known: str, named: str
) -> None:
    careless = Stack(production.project, production.files, **production.settings | {secret: known})
    done = careless.compose("run", "--rm", "--no-deps", service)
    assert done.returncode != 0
    assert named in done.stdout + done.stderr


def test_production_starts_with_secrets_and_demands_them(production: Stack) -> None:
    production.up()
    url = f"{production.crud_url}/applications"
    bearer = {"Authorization": f"Bearer {SECRETS['ADMIN_TOKEN']}"}
    with httpx.Client(timeout=15, **PLAIN_HTTP) as client:
        assert client.get(url).status_code == 401
        created = client.post(url, json={"name": "An application"}, headers=bearer)
        assert created.status_code == 201
        assert created.headers["location"].startswith(f"{ADDRESS}/applications/")
        api = Api(client, production.crud_url, production.numbering_url)
        chat = api.chat(f"/applications/{created.json()['access_token']}")
        api.wait_for_numbers(f"{chat}/messages", [api.message(chat, "Hello")])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Stack]:
    """Both files' stack: several of each part, but Elasticsearch, which is as in the plain file."""
    found = re.findall(r"^ +image: (\S+)", (ROOT / CLUSTER).read_text(), re.MULTILINE)
    require_engine(*found)
    with project("cluster", PLAIN, CLUSTER, ELASTICSEARCH_URL="") as stack:
        stack.up("--build", "--scale", "elasticsearch=0")
        yield stack


def test_there_are_several_of_each_part_in_a_cluster(cluster: Stack) -> None:
    for service in ("crud", "worker", "numbering"):
        assert cluster.states(service) == ["healthy", "healthy"]
    query = "SELECT sync_state FROM pg_stat_replication"
    psql = ("exec", "-T", "postgres", "psql", "-h", "127.0.0.1", "-U", "postgres", "-Atc")
    assert cluster.compose(*psql, query).stdout == "quorum\n"
    roles = [cluster.compose("exec", "-T", name, "valkey-cli", "role").stdout for name in SERVERS]
    assert sorted(role.split()[0] for role in roles) == ["master"] * 3 + ["slave"] * 3


def test_one_of_each_kind_in_a_cluster_is_killed_and_nothing_is_lost(cluster: Stack) -> None:
    retries = Retries(seconds=HEALTHY_SECONDS, longest_pause=1.0)
    with Client(cluster.crud_url, cluster.numbering_url, retries=retries) as client:
        # Two servers of Valkey are lost: a primary, with a third of the applications, and a replica
        # of another one.
        chats = [new_chat(client) for _ in range(6)]
        numbers = list(range(1, len(IN_CLUSTER) + 1))
        for number, service in zip(numbers, IN_CLUSTER, strict=True):
            cluster.crash(service)
            for chat in chats:
                assert chat.create_message(f"after {service}")["number"] == number
        for chat in chats:
            chat.message(numbers[-1], until_stored=True)
            assert [message["number"] for message in chat.messages()] == numbers


def size(image: str) -> int:
    """Return the size of an image in MB, its base included."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image).stdout) // 10**6


def test_the_images_have_the_documented_sizes(plain: Stack) -> None:
    (base,) = read_base_images()
    documented = re.findall(r"(\d+)\sMB\s\(", (ROOT / "README.md").read_text())
    for image, megabytes in zip(OURS, documented, strict=True):
        assert size(image) - size(base) == pytest.approx(int(megabytes), abs=8)


@pytest.mark.parametrize("image", OURS)
def test_an_image_has_no_installer(plain: Stack, image: str) -> None:
    words = ("python", "-c", "import importlib.util as u; print(u.find_spec('pip'))")
    done = docker("run", "--rm", "--network=none", image, *words)
    assert done.stdout.strip() == "None", done.stderr
