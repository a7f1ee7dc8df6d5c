"""Content types, a media type and its parameters, charset among them; and content encodings."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

# A parameter starts after a semicolon and nowhere else, and nothing backtracks:
# a header of 60 KB without a parameter took a minute otherwise.
_PARAMETER = re.compile(
    r"(?:^|;)\s*+([!#$%&'*+.^_`|~\w-]++)\s*+=\s*+(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s;]*+))"
)


# Those that clients send all the time are short; one of 60 KB can have thousands of parameters.
_LONGEST_CACHED: Final = 256


def split_content_type(header: str) -> tuple[str, Mapping[str, str]]:
    """Return the media type in lower case, and its parameters without quotes."""
    return _split_short(header) if len(header) <= _LONGEST_CACHED else _split(header)


def _split(header: str) -> tuple[str, Mapping[str, str]]:
    media_type, _, rest = header.partition(";")
    parameters = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
        for name, quoted, plain in _PARAMETER.findall(rest)
    }
    return media_type.strip().lower(), parameters


_split_short: Final = lru_cache(maxsize=256)(_split)


def is_encoded(content_encoding: str) -> bool:
    """Whether a Content-Encoding, a list whose items may be empty, names more than `identity`."""
    return not {item.strip().lower() for item in content_encoding.split(",")} <= {"identity", ""}


def is_utf8(parameters: Mapping[str, str]) -> bool:
    """Whether text with these parameters is UTF-8, which it is unless a charset says otherwise."""
    return parameters.get("charset", "utf-8").lower() in {"utf-8", "utf8"}
