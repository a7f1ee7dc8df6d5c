"""Settings with which the service does not start."""

import pytest

from contract import keys
from contract.settings_reading import SettingsError
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
        ("REDIS_URL", "127.0.0.1:6379"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("REDIS_URL", "redis://127.0.0.1:secret"),
        ("REDIS_URL", "redis://127.0.0.1:99999"),
        ("REDIS_URL", "redis://127.0.0.1?no_such_option=1"),
        ("REDIS_URL", "rediss://127.0.0.1?ssl_cert_reqs=sometimes"),
        ("REDIS_URL", "rediss://127.0.0.1?ssl_ca_certs=/no/such/file"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named_and_not_quoted(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} must be ") as raised:
        Settings.from_env({name: value})
    assert value not in str(raised.value)
