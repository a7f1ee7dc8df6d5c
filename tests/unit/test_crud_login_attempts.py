"""Passwords tried at the operators' site are paced."""

import pytest

from contract.problems import Overloaded
from crud_service.chat.login_attempts import AT_ONCE, SECONDS_EACH, LoginAttempts


def test_failures_are_paced_and_successes_cost_nothing() -> None:
    now = 0.0
    attempts = LoginAttempts(lambda: now)
    for _ in range(AT_ONCE * 3):
        attempts.begin()
        attempts.succeeded()
    for _ in range(AT_ONCE):
        attempts.begin()
    with pytest.raises(Overloaded) as refusal:
        attempts.begin()
    assert refusal.value.headers["Retry-After"] == "2"
    now += SECONDS_EACH
    attempts.begin()
    with pytest.raises(Overloaded):
        attempts.begin()
