"""Where a stream starts, and what is no event's id."""

import pytest

from contract.paths import MAX_NUMBER
from crud_service.live.cursor import Cursor, Start, parse_event_id, requested_start
from web.problems import ValidationFailed

END = Cursor(5, 2)


@pytest.mark.parametrize(
    ("header", "query", "start"),
    [
        (None, {}, Start(None, None)),
        (None, {"after": "3"}, Start(3, None)),
        (None, {"last_event_id": "3.1"}, Start(3, 1)),
        (None, {"last_event_id": "3.1", "after": "2"}, Start(3, 1)),
        ("4.2", {"last_event_id": "3.1", "after": "2"}, Start(4, 2)),
        ("", {"last_event_id": "", "after": "2"}, Start(2, None)),
        (f"{MAX_NUMBER}.{MAX_NUMBER}", {}, Start(MAX_NUMBER, MAX_NUMBER)),
    ],
)
def test_a_stream_starts_behind_the_id_else_behind_after_else_now(
    header: str | None, query: dict[str, object], start: Start
) -> None:
    assert requested_start(header, query) == start


@pytest.mark.parametrize(
    "event_id",
    [
        *("1", ".", "1.", ".1", "1.2.3", "01.2", "1.02", "-1.0", "+1.0", " 1.2", "1.2 ", "1.2\n"),
        *("a.b", "1,2", "1.2, 1.2", "\u0661.\u0662", "1e3.0", f"{MAX_NUMBER + 1}.0"),
        *(f"0.{MAX_NUMBER + 1}", "9" * 5000 + ".0", 1, None, b"1.2"),
    ],
)
def test_a_malformed_id_is_refused_by_the_name_of_its_field(event_id: object) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_event_id("last_event_id", event_id)
    assert refused.value.status == 422
    assert b"last_event_id" in refused.value.render("/", "id")


@pytest.mark.parametrize("after", ["x", "", "-1", "1.0", str(MAX_NUMBER + 1), "٣"])
def test_a_malformed_after_is_refused_also_beside_an_id(after: str) -> None:
    with pytest.raises(ValidationFailed):
        requested_start("1.0", {"after": after})


@pytest.mark.parametrize(
    ("start", "cursor"),
    [
        (Start(None, None), END),
        (Start(0, None), Cursor(0, 2)),
        (Start(0, 0), Cursor(0, 0)),
        (Start(5, 2), END),
        (Start(6, None), None),
        (Start(6, 0), None),
        (Start(0, 3), None),
    ],
)
def test_a_start_ahead_of_the_end_is_none(start: Start, cursor: Cursor | None) -> None:
    assert start.resolve(END) == cursor


def test_a_cursor_is_written_as_it_is_read() -> None:
    assert parse_event_id("Last-Event-ID", str(END)) == END
