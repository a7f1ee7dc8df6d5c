"""When reads may use the replica: not before it was seen to keep up, nor after it failed."""

import queue

import pytest

from tests.polling import wait_until

FAILURE = OSError("the replica lags\nDETAIL: more")


class Trials:
    """What comes of each trial of a replica; the thread that tries waits for it."""

    def __init__(self) -> None:
        self._outcomes: queue.Queue[Exception | None] = queue.Queue()
        self.begun = 0

    def __call__(self) -> None:
        self.begun += 1
        outcome = self._outcomes.get()
        if outcome is not None:
            raise outcome

    def end(self, outcome: Exception | None) -> None:
        """End the current trial, or the next one."""
        self._outcomes.put(outcome)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def trials() -> Trials:
    return Trials()


def test_a_replica_is_used_once_it_has_kept_up(
    trials: Trials, caplog: pytest.LogCaptureFixture
) -> None:
    from crud_service.stores.replica import Replica

    caplog.set_level("INFO", "crud_service.stores.replica")
    replica = Replica(trials, retry_seconds=0)
    trials.end(FAILURE)
    trials.end(FAILURE)
    wait_until(lambda: trials.begun == 3, 10)
    assert not replica.is_usable
    trials.end(None)
    wait_until(lambda: replica.is_usable, 10)
    assert messages(caplog) == ["reads go to the primary", "reads go to the replica"]
    assert vars(caplog.records[0])["reason"] == "the replica lags"


def test_a_replica_that_was_given_up_is_tried_until_it_keeps_up(
    trials: Trials, caplog: pytest.LogCaptureFixture
) -> None:
    from crud_service.stores.replica import Replica

    replica = Replica(trials, retry_seconds=0)
    trials.end(None)
    wait_until(lambda: replica.is_usable, 10)
    assert trials.begun == 1
    replica.give_up(FAILURE)
    replica.give_up(FAILURE)
    assert not replica.is_usable
    trials.end(FAILURE)
    trials.end(None)
    wait_until(lambda: replica.is_usable, 10)
    assert messages(caplog).count("reads go to the primary") == 1


def test_a_failure_during_a_trial_is_followed_by_another_trial(
    trials: Trials, caplog: pytest.LogCaptureFixture
) -> None:
    """A read that began before the replica was given up may fail at any later time."""
    from crud_service.stores.replica import Replica

    caplog.set_level("INFO", "crud_service.stores.replica")
    replica = Replica(trials, retry_seconds=0)
    wait_until(lambda: trials.begun == 1, 10)
    replica.give_up(FAILURE)
    trials.end(None)
    wait_until(lambda: trials.begun == 2, 10)
    assert not replica.is_usable
    trials.end(None)
    wait_until(lambda: replica.is_usable, 10)
    assert messages(caplog) == ["reads go to the primary", "reads go to the replica"]
