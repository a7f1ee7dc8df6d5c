"""Threads that clients hold: most of them and no more."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from contract.problems import Overloaded
from crud_service.slow_clients import HELD_AT_MOST, THREADS, HeldStream, held_thread


def all_held() -> ExitStack:
    stack = ExitStack()
    for _ in range(HELD_AT_MOST):
        stack.enter_context(held_thread())
    return stack


def broken() -> Iterator[bytes]:
    yield b"["
    raise RuntimeError("away")


def test_some_threads_are_always_left_for_quick_requests() -> None:
    assert HELD_AT_MOST < THREADS


def test_whoever_comes_when_too_many_are_held_is_asked_to_come_again() -> None:
    with all_held():
        with pytest.raises(Overloaded), held_thread():
            pass
        with pytest.raises(Overloaded):
            HeldStream(iter([b"x"]))
    with held_thread():
        pass


def test_a_stream_that_was_read_gives_its_thread_back() -> None:
    for _ in range(HELD_AT_MOST * 2):
        assert b"".join(HeldStream(iter([b"a", b"b"]))) == b"ab"


def test_a_stream_that_nobody_finishes_gives_its_thread_back() -> None:
    for _ in range(HELD_AT_MOST * 2):
        next(HeldStream(iter([b"a", b"b"])))
        HeldStream(iter([b"a"])).close()


def test_a_stream_that_fails_ends_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(HELD_AT_MOST * 2):
        assert list(HeldStream(broken())) == [b"["]
    assert "a list broke off" in caplog.text
