"""Content types, a media type and its parameters, charset among them; and content encodings."""

import re

# A parameter starts after a semicolon and nowhere else, and nothing backtracks:
# a header of 60 KB without a parameter took a minute otherwise.
_PARAMETER = re.compile(
    r"(?:^|;)\s*+([!#$%&'*+.^_`|~\w-]++)\s*+=\s*+(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s;]*+))"
)


def media_type_of(content_type: str) -> str:
    """Return the media type of a Content-Type in lower case, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def parameter_of(content_type: str, name: str) -> str | None:
    """Return a parameter of a Content-Type without quotes, the last of its name; None without one.

    A header of 60 KB can have ten thousand of them, so only those that are needed are looked up.

    Args:
        content_type: the header.
        name: in lower case.
    """
    if name not in content_type.lower():
        return None
    every = _PARAMETER.findall(content_type.partition(";")[2])
    found = [(quoted, plain) for key, quoted, plain in every if key.lower() == name]
    if not found:
        return None
    quoted, plain = found[-1]
    return without_backslashes(quoted) or plain


def without_backslashes(quoted: str) -> str:
    """Return what is meant by the inside of a quoted string, in which a backslash may escape."""
    # Replacing one escape at a time takes a hundred times as long.
    return "\\".join([part.replace("\\", "") for part in quoted.split(r"\\")])


def is_encoded(content_encoding: str) -> bool:
    """Whether a Content-Encoding, a list whose items may be empty, names more than `identity`."""
    return not {item.strip().lower() for item in content_encoding.split(",")} <= {"identity", ""}


def is_utf8(content_type: str) -> bool:
    """Whether text of a Content-Type is UTF-8, which it is unless a charset says otherwise."""
    charset = parameter_of(content_type, "charset")
    return charset is None or charset.lower() in {"utf-8", "utf8"}
