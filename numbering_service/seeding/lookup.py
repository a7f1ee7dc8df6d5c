"""Seeding's queries to crud_service: which applications exist, and the highest number taken."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx

from contract.sequences import (
    ACCESS_TOKENS,
    DELETED,
    EXISTS,
    HIGHEST_NUMBER,
    MAX_ACCESS_TOKENS,
    applications_path,
    sequence_path,
)
from numbering_service.creation import Creation
from web.problems import Overloaded, StoreUnavailable

MAX_KNOWN = 10_000
MAX_ASKED = 5_000


class Taken(NamedTuple):
    """What crud_service knows of a sequence."""

    highest: int
    exists: bool
    deleted: bool = False


async def look_up(crud: httpx.AsyncClient, creation: Creation, shards: int = 1) -> Taken:
    """Ask for the highest number taken.

    Args:
        crud: where to ask.
        creation: one whose sequence is missing.
        shards: the number of shards by which keys are named.

    Returns:
        What crud_service knows of the sequence. Raises StoreUnavailable without an answer, as when
        the installation has another number of shards.
    """
    path = sequence_path(creation.access_token, creation.chat_number, shards)
    try:
        response = await crud.get(path, headers={"X-Request-ID": creation.request_id})
        if response.status_code == httpx.codes.NOT_FOUND:
            return Taken(0, exists=False)
        answer = response.raise_for_status().json()
        return Taken(
            int(answer[HIGHEST_NUMBER]),
            exists=bool(answer.get(EXISTS, True)),
            deleted=bool(answer.get(DELETED, False)),
        )
    except (httpx.HTTPError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _no_answer() from error


class Applications:
    """Finds out which applications exist, many with one query.

    Tokens that arrive while a query is in flight form the next one, so random
    tokens cost next to nothing. Tokens that exist are cached.
    """

    def __init__(
        self, crud: httpx.AsyncClient, max_known: int = MAX_KNOWN, max_asked: int = MAX_ASKED
    ) -> None:
        self._crud = crud
        self._max_known, self._max_asked = max_known, max_asked
        self._known: OrderedDict[str, None] = OrderedDict()
        self._asked: OrderedDict[str, asyncio.Future[bool]] = OrderedDict()
        self._querying: asyncio.Task[None] | None = None

    async def exists(self, creation: Creation) -> bool:
        """Whether an application exists; cached ones are not asked for again.

        Raises StoreUnavailable without an answer, Overloaded when too many wait for one.
        """
        token = creation.access_token
        if token in self._known:
            self._known.move_to_end(token)
            return True
        if token not in self._asked:
            if len(self._asked) >= self._max_asked:
                raise Overloaded
            self._asked[token] = asyncio.get_running_loop().create_future()
        answer = self._asked[token]
        if self._querying is None:
            self._querying = asyncio.create_task(self._ask_all(creation.request_id))
        return await asyncio.shield(answer)

    def forget(self, access_token: str) -> None:
        """Remove an application from the cache, once an answer says that it does not exist."""
        self._known.pop(access_token, None)

    async def _ask_all(self, request_id: str) -> None:
        try:
            while self._asked:
                names = list(self._asked)[:MAX_ACCESS_TOKENS]
                asked = {name: self._asked.pop(name) for name in names}
                await self._ask(asked, request_id)
        finally:
            self._querying = None

    async def _ask(self, asked: dict[str, "asyncio.Future[bool]"], request_id: str) -> None:
        try:
            existing = await self._existing(list(asked), request_id)
        except StoreUnavailable as problem:
            for answer in asked.values():
                answer.set_exception(problem)
                answer.exception()  # Nobody else retrieves it if all callers have left.
            return
        for token, answer in asked.items():
            if token in existing:
                self._remember(token)
            answer.set_result(token in existing)

    async def _existing(self, tokens: Sequence[str], request_id: str) -> set[str]:
        try:
            response = await self._crud.get(
                applications_path(tokens), headers={"X-Request-ID": request_id}
            )
            answer: dict[str, Any] = response.raise_for_status().json()
            return set(answer[ACCESS_TOKENS])
        except (httpx.HTTPError, LookupError, TypeError, ValueError) as error:
            raise _no_answer() from error

    def _remember(self, token: str) -> None:
        self._known[token] = None
        if len(self._known) > self._max_known:
            self._known.popitem(last=False)


def _no_answer() -> StoreUnavailable:
    return StoreUnavailable(
        "The next number cannot be determined at the moment; nothing was changed."
    )
