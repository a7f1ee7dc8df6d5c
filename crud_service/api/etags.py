"""Entity tags: the hash of a representation, so the same bytes have the same tag everywhere."""

import re
from dataclasses import dataclass
from hashlib import blake2b

from web.problems import PreconditionFailed

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def etag(representation: bytes) -> str:
    """The strong tag of a representation."""
    return f'"{blake2b(representation, digest_size=12).hexdigest()}"'


def if_match_holds(header: str | None, representation: bytes) -> bool:
    """Whether a change may go on; weak tags never match here (RFC 9110, 13.1.1)."""
    if header is None or header.strip() == "*":
        return True
    return etag(representation) in _tags(header)


def if_none_match_holds(header: str | None, tag: str) -> bool:
    """Whether the client lacks the state with this tag; weak tags count here (13.1.2)."""
    if header is None:
        return True
    if header.strip() == "*":
        return False
    return tag not in {candidate.removeprefix("W/") for candidate in _tags(header)}


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What a change depends on: the headers `If-Match` and `If-None-Match`."""

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, representation: bytes) -> None:
        """Raises PreconditionFailed (412) unless a state may be changed."""
        if not if_match_holds(self.if_match, representation):
            raise PreconditionFailed
        if not if_none_match_holds(self.if_none_match, etag(representation)):
            raise PreconditionFailed("If-None-Match names the current state of the resource.")


UNCONDITIONAL = Preconditions()


def _tags(header: str) -> list[str]:
    return _TAG.findall(header)
