"""Attributes survive an export and an import."""

from pathlib import Path

import httpx
import pytest

from tests.integration.crud_rows import Database, add_attributes, add_chat_of
from tests.integration.transfer.carried import export, import_file, without_token, write


def test_attributes_are_exported_and_imported_to_the_letter(
    http: httpx.Client, database: Database, application: str, tmp_path: Path
) -> None:
    add_chat_of(database, application, 7)
    add_attributes(database)
    lines = export(http, application)
    assert b'"name":"A chat","metadata":{"a":1}}' in lines[1]
    assert lines[4].endswith(b'"metadata":{"a":null,"b":[1.50,"\\u2028"]},"reply_to":1}')
    # Metadata has one notation, which rows that were put there directly need not have.
    lines = [line.replace(b"\\u2028", "\u2028".encode()) for line in lines]
    copy = import_file(write(tmp_path / "export", lines))
    assert without_token(export(http, copy)) == without_token(lines)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b'"sender":""', "sender: Must not be blank"),
        (b'"metadata":[]', "metadata: Must be a JSON object"),
        (b'"reply_to":0', "reply_to: Must be the number"),
    ],
)
def test_a_bad_attribute_is_named(
    http: httpx.Client,
    database: Database,
    application: str,
    tmp_path: Path,
    bad: bytes,
    why: str,
) -> None:
    add_chat_of(database, application, 2)
    lines = export(http, application)
    lines[3] = lines[3][:-1] + b"," + bad + b"}"
    with pytest.raises(Exception, match=f"line 4: {why}"):
        import_file(write(tmp_path / "export", lines))
