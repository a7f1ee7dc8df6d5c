"""Entity tags: a hash of the representation, so equal bytes have equal tags in every process."""

import re
from dataclasses import dataclass
from hashlib import blake2b

from web.problems import PreconditionFailed

# A member of a list; whatever else stands beside a tag makes it none.
_TAG = re.compile(r'(?<![^ \t,])(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"(?![^ \t,])')


def etag(representation: bytes) -> str:
    """Return the strong entity tag of a representation: a quoted digest of its bytes."""
    return f'"{blake2b(representation, digest_size=12).hexdigest()}"'


def if_match_holds(header: str | None, representation: bytes) -> bool:
    """Evaluate `If-Match`; weak tags never match (RFC 9110, 13.1.1)."""
    if header is None or header.strip() == "*":
        return True
    return etag(representation) in _tags(header)


def if_none_match_holds(header: str | None, tag: str) -> bool:
    """Evaluate `If-None-Match`; weak tags match as well (RFC 9110, 13.1.2)."""
    if header is None:
        return True
    if header.strip() == "*":
        return False
    return tag not in {candidate.removeprefix("W/") for candidate in _tags(header)}


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The preconditions of a change: the headers `If-Match` and `If-None-Match`."""

    if_match: str | None = None
    if_none_match: str | None = None

    @property
    def are_any(self) -> bool:
        return self.if_match is not None or self.if_none_match is not None

    def check(self, representation: bytes) -> None:
        """Raise PreconditionFailed (412) unless the current representation may be changed."""
        if not if_match_holds(self.if_match, representation):
            raise PreconditionFailed
        if not if_none_match_holds(self.if_none_match, etag(representation)):
            raise PreconditionFailed("If-None-Match matches the current state of the resource.")


def _tags(header: str) -> list[str]:
    return _TAG.findall(header)
