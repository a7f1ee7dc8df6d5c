"""What keeps crud_service and the worker from starting."""

import pytest

from crud_service import settings, startup


def test_a_negative_number_of_replicas_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert startup.invalid_settings() == []
    monkeypatch.setattr(settings, "REPLICAS_TO_ACKNOWLEDGE", -1)
    [reason] = startup.invalid_settings()
    assert "REPLICAS_TO_ACKNOWLEDGE" in reason
