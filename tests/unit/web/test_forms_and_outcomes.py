"""Forms that would block the others are refused, and an unknown outcome is called that."""

import pytest

from web.fields import MAX_ESCAPES, MAX_PAIRS, parse_urlencoded
from web.problems import StoreUnavailable, ValidationFailed


@pytest.mark.parametrize("form", [b"a&" * MAX_PAIRS, b"%" * (MAX_ESCAPES + 1)])
def test_a_form_of_too_many_pairs_or_escapes_is_422(form: bytes) -> None:
    with pytest.raises(ValidationFailed, match="at most"):
        parse_urlencoded(form)


def test_an_unknown_outcome_does_not_say_that_nothing_was_changed() -> None:
    problem = StoreUnavailable.outcome_unknown()
    assert problem.status == 503
    assert "not known" in problem.detail
    assert "nothing was changed" not in problem.detail
