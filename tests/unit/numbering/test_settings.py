"""Settings with which the service does not start."""

import asyncio
import re

import pytest

from contract import keys
from contract.settings_reading import SettingsError
from local_stack.applications import ROOT
from numbering_service.running import running
from numbering_service.settings import MAX_PATIENCE_SECONDS, Settings


def test_a_patience_that_outlives_the_answers_of_batches_stops_the_start() -> None:
    """A batch that is sent again after its answer has expired would be numbered again."""
    assert 2 * MAX_PATIENCE_SECONDS <= keys.BATCH_TTL_SECONDS
    longest = {"REDIS_PATIENCE_SECONDS": str(MAX_PATIENCE_SECONDS)}
    assert Settings.from_env(longest).redis_patience_seconds == MAX_PATIENCE_SECONDS
    with pytest.raises(SettingsError, match="REDIS_PATIENCE_SECONDS must be at most"):
        Settings.from_env({"REDIS_PATIENCE_SECONDS": str(keys.BATCH_TTL_SECONDS)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "verbose"),
        ("LOG_LEVEL", "critical"),
        ("LOG_LEVEL", "notset"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("REDIS_URL", "redis://127.0.0.1:secret"),
        ("REDIS_URL", "redis://127.0.0.1:99999"),
        ("REDIS_URL", "redis://127.0.0.1?no_such_option=1"),
        ("REDIS_URL", "rediss://127.0.0.1?ssl_cert_reqs=sometimes"),
        ("REDIS_URL", "rediss://127.0.0.1?ssl_ca_certs=/no/such/file"),
        ("REDIS_URL", "redis://user:12/secret@127.0.0.1"),
        ("REDIS_URL", "redis://user:12#secret@127.0.0.1"),
        ("BROKER_URL", "redis://user:12/secret@127.0.0.1"),
        ("BROKER_URL", "redis://[secret@127.0.0.1"),
        ("REDIS_URL", "redis://127.0.0.1/chat"),
        ("REDIS_URL", "redis://127.0.0.1/-1"),
        ("BROKER_URL", "redis://127.0.0.1/chat"),
        ("BROKER_URL", "redis://127.0.0.1:port"),
        ("BROKER_URL", "redis://:a?secret=1@127.0.0.1:1/0"),
        ("BROKER_URL", "redis://127.0.0.1:99999"),
        ("BROKER_URL", "127.0.0.1:6379"),
        ("BROKER_URL", '"redis://127.0.0.1:6379/0"'),
        ("CRUD_URL", "crud:3000"),
        ("CRUD_URL", "http://crud:3000\n"),
        ("CRUD_URL", "http://crud:99999"),
        ("CRUD_PUBLIC_URL", "chat.example.com"),
        ("CRUD_PUBLIC_URL", "https://"),
        ("INTERNAL_TOKEN", "from a file\n"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named_and_not_quoted(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} must be ") as raised:
        Settings.from_env({name: value})
    assert value not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCAL_STACK", "true"),
        ("CONTAINER", "yes"),
        ("MAX_BACKLOG", "٣"),
        ("MAX_BACKLOG", "9" * 5000),
    ],
)
def test_a_setting_of_another_kind_is_named_with_what_is_expected(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} must be .*, not '{value}'$"):
        Settings.from_env({name: value})


def test_an_empty_variable_counts_as_unset() -> None:
    names = re.findall(r"`([A-Z_]+)`", (ROOT / "docs/settings.md").read_text())
    assert Settings.from_env(dict.fromkeys(names, "")) == Settings.from_env({})


def test_an_address_may_have_a_path_and_a_slash_at_its_end() -> None:
    address = "https://chat.example.com:8443/api"
    assert Settings.from_env({"CRUD_PUBLIC_URL": f"{address}/"}).crud_public_url == address


async def sent_authorization(settings: Settings) -> bytes:
    async with running(settings) as service:
        return dict(service.crud.headers.raw)[b"Authorization"]


def test_an_internal_token_need_not_be_ascii() -> None:
    settings = Settings.from_env({"INTERNAL_TOKEN": "clé", "REDIS_URL": "redis://127.0.0.1:1"})
    assert asyncio.run(sent_authorization(settings)) == "Bearer clé".encode()
