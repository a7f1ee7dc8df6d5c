"""Line ends that went through a browser: unedited lines keep theirs."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crud_service.operators.line_ends import restore_line_ends

TEXTS = st.text(st.sampled_from("ab\r\n"), max_size=40)


def through_a_browser(text: str) -> str:
    return re.sub("\r\n|\r|\n", "\r\n", text)


@given(TEXTS)
def test_a_text_that_nobody_edited_is_the_same(stored: str) -> None:
    assert restore_line_ends(through_a_browser(stored), stored) == stored


@given(TEXTS, TEXTS)
def test_the_lines_are_those_that_were_submitted(submitted: str, stored: str) -> None:
    restored = restore_line_ends(through_a_browser(submitted), stored)
    assert through_a_browser(restored) == through_a_browser(submitted)


@pytest.mark.parametrize(
    ("stored", "submitted", "expected"),
    [
        ("a\r\nb\nc", "a\r\nB\r\nc", "a\r\nB\nc"),
        ("a\r\nb\nc", "A\r\nb\r\nc", "A\r\nb\nc"),
        ("a\nb", "a\r\nb\r\nc", "a\nb\nc"),
        ("a\r\nb\rc\nd", "a\r\nc\r\nd", "a\r\nc\nd"),
        ("a\nb\r\nc", "a\r\nnew\r\nb\r\nc\r\nend", "a\nnew\nb\r\nc\nend"),
        ("no end", "now\r\ntwo", "now\ntwo"),
        ("a\r\n", "a", "a"),
        ("", "a\r\nb", "a\nb"),
        ("x\ny\r\nz\rw", "1\r\nx\r\ny\r\n2\r\nz\r\nw", "1\nx\ny\r\n2\nz\rw"),
    ],
)
def test_only_what_was_edited_changes(stored: str, submitted: str, expected: str) -> None:
    assert restore_line_ends(submitted, stored) == expected


@pytest.mark.parametrize("line", ["", "x", "ab"])
def test_line_ends_are_restored_quickly(line: str) -> None:
    stored = f"{line}\n" * (65_000 // (len(line) + 1))
    edited = f"new\r\n{through_a_browser(stored)[1:-9]}new"
    started = time.process_time()
    restore_line_ends(edited, stored)
    assert time.process_time() - started < 5
