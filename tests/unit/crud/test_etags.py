"""Entity tags and the preconditions that name them."""

import pytest

from crud_service.api.etags import etag, if_match_holds, if_none_match_holds

STATE = b'{"name":"x"}'
TAG = etag(STATE)


def test_the_same_bytes_have_the_same_tag_and_others_another() -> None:
    assert etag(STATE) == TAG
    assert etag(STATE + b" ") != TAG
    assert TAG.startswith('"')
    assert TAG.endswith('"')


@pytest.mark.parametrize("header", [None, "*", " * ", TAG, f'"other", {TAG}', f'"a,b",{TAG}'])
def test_if_match_with_the_current_state_holds(header: str | None) -> None:
    assert if_match_holds(header, STATE)


# RFC 9110, 8.8.3: the `W` of a weak tag is a capital.
MALFORMED = [f"w/{TAG}", f"w{TAG}", f"{TAG}w", f'"other"{TAG}', f"\xa0{TAG}"]


@pytest.mark.parametrize(
    "header", ["", '"other"', f"W/{TAG}", TAG.strip('"'), "*, *", *MALFORMED], ids=ascii
)
def test_if_match_with_another_state_does_not_hold(header: str) -> None:
    assert not if_match_holds(header, STATE)


@pytest.mark.parametrize("header", ["*", TAG, f"W/{TAG}", f'"other", W/{TAG}'])
def test_if_none_match_with_the_current_tag_does_not_hold(header: str) -> None:
    assert not if_none_match_holds(header, TAG)


@pytest.mark.parametrize(
    "header", [None, "", '"other"', TAG.strip('"'), 'W/"other"', *MALFORMED], ids=ascii
)
def test_if_none_match_without_the_current_tag_holds(header: str | None) -> None:
    assert if_none_match_holds(header, TAG)
