"""Shards: applications are spread over them, each shard with its own stream and persister.

Whatever a creation touches in Redis belongs to one application, and all keys of an application
belong to its shard. The names of a shard's keys begin with its hash tag, so all of them are in one
slot of a cluster, and a script may use several of them:

    {s7/12.4}accepted    {s7/12.4}sequence:chats:<token>    lock:{s7/12.4}sequence:chats:<token>

A tag is the shard's number, the number of shards, and a counter that was chosen so that the slots
of the shards are spread evenly: each of three primaries has one of three shards. With a single
shard keys have no tag. Keys that belong to no application belong to the first shard.

An application's shard follows from its token. A new token may belong to another shard, and so may
the same token once there is another number of shards.
"""

from binascii import crc_hqx
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

MAX_SHARDS = 256
SLOTS = 16384


class Shard(NamedTuple):
    """A shard: its number, from 0, and the tag with which the names of its keys begin."""

    number: int
    tag: str

    def key(self, name: str) -> str:
        """Return the name of a key of this shard; `name` is from `contract.keys`."""
        return self.tag + name

    @property
    def slot(self) -> int:
        """The slot of a cluster that has all keys of this shard."""
        return slot_of(self.tag[1:-1])


# The shard of everything where there is only one.
ONLY = Shard(0, "")


class Shards:
    """All shards of an installation, in the order of their numbers."""

    def __init__(self, size: int) -> None:
        many = size > 1
        self._shards = [tagged(number, size) for number in range(size)] if many else [ONLY]

    def __len__(self) -> int:
        return len(self._shards)

    def __iter__(self) -> Iterator[Shard]:
        return iter(self._shards)

    def __getitem__(self, number: int) -> Shard:
        return self._shards[number]

    @property
    def first(self) -> Shard:
        """The shard of the keys that belong to no application."""
        return self._shards[0]

    def number_of(self, access_token: str) -> int:
        """Return the number of an application's shard."""
        size = len(self._shards)
        return crc32(access_token.encode()) % size if size > 1 else 0

    def of(self, access_token: str) -> Shard:
        """Return the shard of an application."""
        return self._shards[self.number_of(access_token)]


def tagged(number: int, size: int) -> Shard:
    """Return one of `size` shards, with a tag in its share of the slots."""
    attempt = 0
    while slot_of(name := f"s{number}/{size}.{attempt}") * size // SLOTS != number:
        attempt += 1
    return Shard(number, f"{{{name}}}")


def slot_of(name: str) -> int:
    """Return the slot of a name without a hash tag, as the specification of Redis Cluster says."""
    return crc_hqx(name.encode(), 0) % SLOTS
