"""Arrays for PostgreSQL in its binary format, packed in bulk.

psycopg's own dumper looks at every element by itself, which took longer than
inserting the rows did; these pack a list of one type at once.
"""

import struct
from collections.abc import Sequence

from psycopg import Cursor
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

INT8, INT8_ARRAY = 20, 1016
TEXT, TEXT_ARRAY = 25, 1009

# dimensions, "may hold nulls", type of the elements, length, lower bound
_HEADER = struct.Struct("!iiIii")
_LENGTH = struct.Struct("!i")


class BigintArray(list[int]):
    """Integers that go to the server as bigint[]."""


class TextArray(list[str]):
    """Strings that go to the server as text[]."""


def pack_bigints(values: Sequence[int]) -> bytes:
    """The wire format of a bigint[]."""
    pairs = [8] * (2 * len(values))
    pairs[1::2] = values
    return _HEADER.pack(1, 0, INT8, len(values), 1) + struct.pack("!" + "iq" * len(values), *pairs)


def pack_texts(values: Sequence[str]) -> bytes:
    """The wire format of a text[]."""
    parts = [_HEADER.pack(1, 0, TEXT, len(values), 1)]
    for value in values:
        encoded = value.encode()
        parts.append(_LENGTH.pack(len(encoded)))
        parts.append(encoded)
    return b"".join(parts)


class _BigintArrayDumper(Dumper):
    format = Format.BINARY
    oid = INT8_ARRAY

    def dump(self, obj: BigintArray) -> Buffer:
        return pack_bigints(obj)


class _TextArrayDumper(Dumper):
    format = Format.BINARY
    oid = TEXT_ARRAY

    def dump(self, obj: TextArray) -> Buffer:
        return pack_texts(obj)


def register_arrays(cursor: Cursor) -> None:
    """Teach a cursor these arrays; Django's connections do not see global registrations."""
    cursor.adapters.register_dumper(BigintArray, _BigintArrayDumper)
    cursor.adapters.register_dumper(TextArray, _TextArrayDumper)
