"""Forms that would block the others are refused, and an unknown outcome is called that."""

import json
from urllib.parse import quote

import pytest

from tests.largest_message import LARGEST_FORM, LARGEST_MESSAGE
from web.fields import MAX_ESCAPES, MAX_PAIRS, parse_json, parse_urlencoded
from web.problems import MethodNotAllowed, StoreUnavailable, ValidationFailed


@pytest.mark.parametrize("form", [b"a&" * MAX_PAIRS, b"%" * (MAX_ESCAPES + 1)])
def test_a_form_of_too_many_pairs_or_escapes_is_422(form: bytes) -> None:
    with pytest.raises(ValidationFailed, match="at most"):
        parse_urlencoded(form)


def test_the_largest_message_is_read_from_json_and_from_a_form() -> None:
    assert parse_json(json.dumps(LARGEST_MESSAGE).encode(), json.loads) == LARGEST_MESSAGE
    form = "&".join(f"{name}={quote(value)}" for name, value in LARGEST_FORM.items())
    assert parse_urlencoded(form.encode()) == LARGEST_FORM


def test_an_unknown_outcome_does_not_say_that_nothing_was_changed() -> None:
    problem = StoreUnavailable.outcome_unknown()
    assert problem.status == 503
    assert "not known" in problem.detail
    assert "nothing was changed" not in problem.detail


def test_a_request_to_the_wrong_service_is_told_of_the_other() -> None:
    problem = json.loads(MethodNotAllowed(["GET", "HEAD"]).render("/applications", ""))
    assert problem["detail"] == (
        "This path only supports GET, HEAD on this service. numbering_service creates chats and"
        " messages, crud_service does everything else."
    )
