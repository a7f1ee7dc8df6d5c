"""What is published when a commit has changed chats: which, so that their followers look.

A message on the channel `keys.CHANGED_CHATS` is a line of words: the time of the commit in
milliseconds since 1970, then `<access_token>/<chat_number>` for each chat; number 0 means that
the token is not valid any more: the application was deleted, or has another one. It only saves
waiting, as followers look once a second anyway: one that gets lost does no harm.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

# Bounds a message to some 40 KB.
CHATS_A_MESSAGE = 1000

# Stands for every chat of an application.
WHOLE_APPLICATION = 0

ChatKey = tuple[str, int]


class ChangedChats(NamedTuple):
    """The chats that were changed, and when, in milliseconds since 1970."""

    at_ms: int
    chats: list[ChatKey]


def encode(at_ms: float, chats: Iterable[ChatKey]) -> Iterator[str]:
    """Yield the messages that name all of the chats."""
    remaining = iter(chats)
    while some := list(islice(remaining, CHATS_A_MESSAGE)):
        words = [f"{access_token}/{number}" for access_token, number in some]
        yield " ".join([str(int(at_ms)), *words])


def decode(message: bytes) -> ChangedChats:
    """Parse a message; raises ValueError if it is malformed."""
    at_ms, *words = message.decode().split(" ")
    chats = []
    for word in words:
        access_token, _, number = word.partition("/")
        chats.append((access_token, int(number)))
    return ChangedChats(int(at_ms), chats)
