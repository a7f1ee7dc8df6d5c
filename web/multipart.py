"""A strict, byte-exact parser of multipart/form-data (RFC 7578)."""

import re
from typing import NamedTuple

from web.media_types import is_utf8, without_backslashes
from web.problems import MalformedBody, UnsupportedMediaType, ValidationFailed

MULTIPART = "multipart/form-data"
MAX_PARTS = 100
# Of all parts: reading headers takes more time than their values do.
MAX_HEADER_BYTES = 32 * 1024

# .NET sends names without quotes.
_NAME = re.compile(rb'(?i)(?:^|;)\s*+name=(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]++))')
# A file, or a name encoded because it is not ASCII: not one of our fields.
_FOREIGN = re.compile(rb"(?i)(?:^|;)\s*+(?:filename\*?|name\*)=")


def parse_multipart(boundary: str, body: bytes) -> dict[str, object]:
    """Parse the fields of a form; the last of a repeated name counts.

    Raises MalformedBody (400) for a body that does not follow its boundary or
    is not UTF-8, UnsupportedMediaType (415) for a part that declares another
    charset, ValidationFailed (422) for too many parts.
    """
    if not boundary or len(boundary) > 70 or not boundary.isascii():
        raise MalformedBody("The multipart form has no usable boundary.")
    delimiter = b"\r\n--" + boundary.encode()
    _preamble, *parts = (b"\r\n" + body).split(delimiter)
    if not parts or not parts.pop().startswith(b"--"):
        raise MalformedBody("The multipart form is truncated.")
    if len(parts) > MAX_PARTS:
        raise ValidationFailed("body", f"A form may have at most {MAX_PARTS} parts.")
    split = [split_part(part) for part in parts]
    if sum([len(part.headers) for part in split]) > MAX_HEADER_BYTES:
        raise MalformedBody("The parts of the multipart form have headers that are too long.")
    return dict(field for part in split if (field := parse_part(part)) is not None)


class Part(NamedTuple):
    """A part of a form; each line of its headers has its line break before it."""

    headers: bytes
    value: bytes


class Field(NamedTuple):
    name: str
    value: str


def split_part(part: bytes) -> Part:
    """Split one part, from behind its delimiter; raises MalformedBody (400)."""
    # The delimiter is followed by optional blanks and a line break, then headers
    # up to an empty line; a part without headers starts with that empty line.
    padding, line_break, rest = part.partition(b"\r\n")
    headers, empty_line, value = (b"\r\n" + rest).partition(b"\r\n\r\n")
    if padding.strip(b" \t") or not line_break or not empty_line:
        raise MalformedBody("The headers of a part of the multipart form do not end.")
    return Part(headers, value)


def parse_part(part: Part) -> Field | None:
    """Parse one part; None for one that can't be one of our fields.

    Raises MalformedBody (400), and UnsupportedMediaType (415) for a charset other than UTF-8.
    """
    disposition = find_header(part.headers, b"content-disposition").partition(b";")[2]
    if _FOREIGN.search(disposition):
        return None
    name = _NAME.search(disposition)
    if name is None:
        raise MalformedBody("A part of the multipart form has no name.")
    if not is_utf8(find_header(part.headers, b"content-type").decode("latin-1")):
        raise UnsupportedMediaType
    try:
        plain = name[2].decode() if name[2] else without_backslashes(name[1].decode())
        return Field(plain, part.value.decode())
    except UnicodeDecodeError as error:
        raise MalformedBody("The multipart form is not valid UTF-8.") from error


def find_header(headers: bytes, name: bytes) -> bytes:
    for line in headers.split(b"\r\n"):
        header, _, value = line.partition(b":")
        if header.strip().lower() == name:
            return value
    return b""
