"""Creates chats and messages: read a request, batch it, answer it when the script replies.

A request is a plain object here, without a task or a future. Requests of the
HTTP server and ASGI requests of the framework are read, validated and answered
by the same code.
"""

import asyncio
import logging
from collections.abc import Iterator
from time import perf_counter
from typing import Final

from numbering_service.creation import Answer, AnyCreation, BadReply, Created, Creation
from numbering_service.creations.access_log import AccessLog
from numbering_service.creations.bulks import MESSAGES, bulk_created, read_bulk
from numbering_service.creations.large_requests import LargeRequests
from numbering_service.creations.outcomes import settle
from numbering_service.creations.pending import Pending
from numbering_service.creations.requests import Target, read_creation, read_target
from numbering_service.creations.sharded import Batching
from numbering_service.creations.shares import Shares
from numbering_service.seeding import Seeding, not_seeded_in_time
from web.fields import bad_reply_to
from web.problems import InternalError, Overloaded, Problem, StoreUnavailable
from web.server.answers import CLIENT_CLOSED, problem_answer
from web.server.request import Request

MAX_SEEDINGS = 5
MAX_UNSEEDED_BYTES = 16 * 1024 * 1024
# Memory that a waiting creation takes in addition to what was sent.
OVERHEAD_BYTES: Final = 1024
# And each further message of a bulk.
MESSAGE_BYTES: Final = 128
# Reading a larger request, or a bulk of any size, can take tens of milliseconds together with
# others that have arrived at the same time (see `large_requests`).
LARGE_BYTES: Final = 64 * 1024
# How long one may wait to be read. Reading dozens of bulks of one application takes longer than
# clients wait for an answer.
MAX_LARGE_SECONDS = 5.0

_CREATED: Final = (
    "content-type: application/json\r\n"
    "x-content-type-options: nosniff\r\n"
    "cache-control: no-store\r\n"
)

_log = logging.getLogger(__name__)


class PendingRequest(Pending):
    __slots__ = ("creations", "request", "seedings", "target")

    def __init__(
        self,
        creations: "Creations",
        creation: AnyCreation,
        request: Request,
        target: Target,
        size: int,
    ) -> None:
        super().__init__(creation, size, request.started)
        self.creations = creations
        self.request = request
        self.target = target
        self.seedings = 0

    @property
    def is_disconnected(self) -> bool:
        return self.request.is_disconnected

    def settle(self, answer: Answer) -> None:
        self.creations.settle(self, answer)

    def abandon(self) -> None:
        self.creations.note(self, CLIENT_CLOSED)


class Creations:
    def __init__(
        self,
        batcher: Batching,
        seeding: Seeding,
        log: AccessLog,
        *,
        waiting: Shares,
        public_url: str,
        max_seeding: int,
        patience_seconds: float,
    ) -> None:
        """`waiting` is what bounds the creations that wait in the batcher."""
        self._batcher = batcher
        self._waiting = waiting
        self._seeding = seeding
        self._log = log
        self._public_url = public_url
        self._patience = patience_seconds
        # By sequence key: the creations that wait for it to be seeded.
        self._unseeded: dict[str, list[PendingRequest]] = {}
        self._shares = Shares(max_seeding, MAX_UNSEEDED_BYTES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._large = LargeRequests()

    def handle(self, request: Request) -> bool:
        """Answer a creation, now or later; False for any other request."""
        if request.method != "POST":
            return False
        target = read_target(request.path)
        if target is None:
            return False
        self.create(request, target)
        return True

    def create(self, request: Request, target: Target) -> None:
        if target.is_bulk or len(request.body) > LARGE_BYTES:
            # The server's budget does not count the body once the client has disconnected.
            request.on_disconnect = request.drop_body
            self._large.add(target.access_token, lambda: self._create_in_steps(request, target))
        else:
            self._create(request, target)

    def _create(self, request: Request, target: Target) -> None:
        try:
            self._submit(request, target, read_creation(target, request))
        except Exception as error:
            self._fail(request, target, error)

    def _create_in_steps(self, request: Request, target: Target) -> Iterator[None]:
        """Read a large request whose turn it is, unless its client has disconnected."""
        try:
            if self._has_left(request, target):
                return
            if perf_counter() - request.started > MAX_LARGE_SECONDS:
                raise Overloaded(
                    "More large requests have arrived than can be read in time; "
                    "nothing was changed."
                )
            # A refused client retries, and parsing a megabyte for each retry would starve the rest.
            self._waiting.check(target.access_token, len(request.body))
            if target.is_bulk:
                creation: AnyCreation = yield from read_bulk(target, request)
                if self._has_left(request, target):
                    return
            else:
                creation = read_creation(target, request)
            self._submit(request, target, creation)
        except Exception as error:
            self._fail(request, target, error)

    def _has_left(self, request: Request, target: Target) -> bool:
        """Return whether the client has disconnected, and record it."""
        if request.is_disconnected:
            self._log.creation(request, target, CLIENT_CLOSED)
        return request.is_disconnected

    def _submit(self, request: Request, target: Target, creation: AnyCreation) -> None:
        sent = request.head_bytes + len(request.body)  # a text may be in the query
        size = sent + OVERHEAD_BYTES + MESSAGE_BYTES * (creation.numbers - 1)
        self._batcher.submit(PendingRequest(self, creation, request, target, size))

    def _fail(self, request: Request, target: Target, error: Exception) -> None:
        if not isinstance(error, Problem):
            _log.error("creation failed", exc_info=error, extra={"request_id": request.id})
            error = InternalError()
        self._refuse(request, target, error)

    def settle(self, pending: PendingRequest, answer: Answer) -> None:
        """Answer a creation that its batch has settled, or have its sequence seeded."""
        if isinstance(answer, Created):
            headers, body = created_answer(pending, answer, self._public_url)
            pending.request.answer(201, headers, body)
            self.note(pending, 201)
        elif answer is None:
            self._seed(pending)
        else:
            target = pending.target
            if isinstance(answer, BadReply):
                place = f"{MESSAGES}[{answer.position}]." if target.is_bulk else ""
                answer = bad_reply_to(f"{place}reply_to")
            self._refuse(pending.request, target, answer)

    def note(self, pending: PendingRequest, status: int) -> None:
        self._log.creation(pending.request, pending.target, status)

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for the creations in progress, then refuse the rest."""
        deadline = perf_counter() + seconds
        self._large.finish()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        await self._batcher.drain(max(0, deadline - perf_counter()))
        for task in self._tasks:
            task.cancel()

    def _refuse(self, request: Request, target: Target, problem: Problem) -> None:
        headers, body = problem_answer(problem, request.path, request.id)
        request.answer(problem.status, headers, body)
        self._log.creation(request, target, problem.status)

    def _seed(self, pending: PendingRequest) -> None:
        """Seed a missing sequence, once for all creations that wait for it."""
        pending.seedings += 1
        seconds = self._patience - (perf_counter() - pending.waits_since)
        if pending.seedings > MAX_SEEDINGS or seconds <= 0:
            pending.settle(
                StoreUnavailable("The sequence keeps disappearing from Redis; nothing was changed.")
            )
            return
        try:
            creation = pending.creation
            self._shares.take(creation.access_token, pending.size, pending.numbers)
        except Problem as problem:
            pending.settle(problem)
            return
        waiting = self._unseeded.setdefault(creation.sequence_key, [])
        waiting.append(pending)
        if len(waiting) == 1:
            task = asyncio.get_running_loop().create_task(self._seed_for(creation.first, seconds))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _seed_for(self, creation: Creation, seconds: float) -> None:
        """Seed a sequence, then number the creations that wait for it, or answer with a problem.

        `seconds` is the time that the first of their requests has left. It applies to all of
        them: a sequence that could not be seeded by then cannot be seeded at the moment.
        """
        problem: Problem | None = None
        try:
            async with asyncio.timeout(seconds):
                await self._seeding.seed_sequence(creation)
        except Problem as error:
            problem = error
        except TimeoutError:
            problem = not_seeded_in_time()
        except asyncio.CancelledError:
            problem = StoreUnavailable()
            raise
        except Exception:
            _log.exception("seeding failed", extra={"request_id": creation.request_id})
            problem = InternalError()
        finally:
            for pending in self._unseeded.pop(creation.sequence_key):
                self._shares.give_back(creation.access_token, pending.size, pending.numbers)
                self._number_again(pending, problem)

    def _number_again(self, pending: PendingRequest, problem: Problem | None) -> None:
        if problem is None:
            try:
                self._batcher.submit(pending)
            except Problem as error:
                problem = error
        if problem is not None:
            settle(pending, problem)


def created_answer(
    pending: PendingRequest, answer: Created, public_url: str
) -> tuple[bytes, bytes]:
    """Header lines and body of a 201."""
    creation, target, number = pending.creation, pending.target, answer.number
    if target.is_bulk:
        numbers, query = bulk_created(number, pending.numbers)
        location = target.path + query
    else:
        numbers, location = f'"number":{number}', f"{target.path}/{number}"
    body = f"{{{numbers},{target.parents}}}"
    more = "idempotent-replayed: true\r\n" if answer.replayed else ""
    if answer.limit is not None:
        more += "".join(f"{name}: {value}\r\n" for name, value in answer.limit.fields().items())
    headers = (
        f"{_CREATED}location: {public_url}{location}\r\n"
        f"x-request-id: {creation.request_id}\r\n{more}content-length: {len(body)}\r\n"
    )
    return headers.encode(), body.encode()
