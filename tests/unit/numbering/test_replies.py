"""A reply of Redis that is not as expected is answered with what is known: nothing."""

import logging
from typing import Any

import pytest

from numbering_service.creations.outcomes import read_outcome
from web.problems import StoreUnavailable


@pytest.mark.parametrize(
    "reply",
    [
        [0, b"1-0", b"", 5],  # an answer too few
        [0, None, None, 5, 6],
        [0, b"1-0", b"", b"not a number", 6],
        [],
        5,
    ],
)
def test_a_reply_that_cannot_be_read_leaves_every_outcome_unknown(
    reply: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        read = read_outcome(reply, 2)
    assert (read.wake, read.last, read.oldest) == (False, None, None)
    assert [type(answer) for answer in read.answers] == [StoreUnavailable] * 2
    assert all("not known" in answer.detail for answer in read.answers)
    assert caplog.records


def test_a_call_that_failed_answers_all_of_its_creations() -> None:
    problem = StoreUnavailable("down")
    assert read_outcome(problem, 3).answers == [problem] * 3
