"""Pacing of logins: however long the check of a wrong password took, a pause follows."""

import time

import pytest

from crud_service.server import logins


@pytest.mark.parametrize(
    ("check", "pause"), [(0.0, 1.0), (0.25, 0.75), (0.9, 1.8), (30.0, 2.0)], ids=str
)
def test_a_pause_follows_the_check_of_a_wrong_password(
    monkeypatch: pytest.MonkeyPatch, check: float, pause: float
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: check)
    monkeypatch.setattr(time, "sleep", pauses.append)
    logins.pace(started=0.0)
    assert pauses == [pytest.approx(pause)]


def test_cookies_that_are_too_long_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "parse_cookie", pytest.fail)
    cookies = "a; " * logins.MAX_COOKIES_BYTES + f"{logins.COOKIE}=x"
    assert not logins.is_known_browser({"HTTP_COOKIE": cookies})
