"""What the tests of numbering_service have in common: real processes, a client, a plain persister.

Valkey and the service are the real ones. Where a test needs to say what is
stored, or to count who asks, `Storage` takes the place of worker and crud: it
drains the real stream into memory and answers the internal endpoint from there
over real HTTP.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil
import pytest
import redis
import redis.asyncio

from contract import keys
from contract.entries import Entry, decode
from contract.sequences import ACCESS_TOKENS, APPLICATIONS_PATH
from contract.shards import ONLY
from local_stack.applications import ROOT
from local_stack.compiled import tree
from local_stack.ports import LOOPBACK, choose_port
from local_stack.stores.valkey import server_command
from numbering_service.creation import Answer, AnyCreation, Created, Creation
from numbering_service.creations.batching import MAX_WAITING_BYTES, Batcher
from numbering_service.creations.pending import Pending
from numbering_service.creations.shard_queue import ShardQueue
from numbering_service.creations.shares import Shares
from numbering_service.shard_servers import ShardServers
from tests.log_lines import Line, json_lines
from tests.polling import eventually, wait_until
from web.problems import Problem

A, B = "A" * 24, "B" * 24
CHATS, MESSAGES = f"/applications/{A}/chats", f"/applications/{A}/chats/1/messages"


class Process:
    """A process that writes to a log and is ended with the test."""

    def __init__(self, log: Path, command: Iterable[str], **environment: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                list(command),
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        settled = eventually(lambda: self.popen.poll() is not None or ready(), bool, seconds)
        if not settled or self.popen.poll() is not None:
            self.end(signal.SIGKILL)
            pytest.fail(self.log.read_text()[-2000:])

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """Send a signal and wait for the exit code; one that does not end is killed."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Valkey:
    """A Valkey of the test's own, which it may kill; or another server, by its program."""

    def __init__(self, directory: Path, program: str = "", **settings: str) -> None:
        self.directory = directory
        self._program = program
        self.port = choose_port()
        self.url = f"redis://{LOOPBACK}:{self.port}/0"
        self.settings = {"dir": str(directory), "loglevel": "warning", **settings}
        self.process: Process | None = None
        self.client = redis.Redis.from_url(self.url, protocol=2)

    def start(self) -> None:
        valkey, *options = server_command(self.port, **self.settings)
        command = [self._program or valkey, *options]
        self.process = Process(self.directory / "valkey.log", command)
        self.process.wait_for(self.answers)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.end(signal.SIGKILL)

    def restart(self, seconds_away: float = 0) -> None:
        self.kill()
        time.sleep(seconds_away)
        self.start()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.popen.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.popen.poll() is None

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def follow(self, primary: "redis.Redis") -> None:
        """Become a replica, and wait until it has everything.

        The primary is asked: a client of a replica that is loading gets errors and reconnects.
        """
        address = primary.get_connection_kwargs()
        primary.config_set("repl-diskless-sync-delay", 0)
        self.client.replicaof(address["host"], address["port"])
        wait_until(
            lambda: primary.info("replication").get("slave0", {}).get("state") == "online", 60
        )

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.kill()


@contextmanager
def primary_and_replica(directory: Path) -> Iterator[tuple[Valkey, Valkey]]:
    """Two servers, of which the second has all that the first has; both fsync each write."""
    directories = [directory / "first", directory / "second"]
    for each in directories:
        each.mkdir()
    first, second = (Valkey(each) for each in directories)
    with first, second:
        second.follow(first.client)
        yield first, second


def freeze(pid: int) -> None:
    """SIGSTOP, and wait until it has come to a stand: the signal alone is no promise."""
    process = psutil.Process(pid)
    process.suspend()
    while process.status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)


class Numbering(Process):
    """`python -m numbering_service` on a port of its own."""

    def __init__(self, directory: Path, redis_url: str, crud_url: str, **environment: str) -> None:
        self.port = int(environment.get("NUMBERING_PORT") or choose_port())
        self.url = f"http://{LOOPBACK}:{self.port}"
        own = {"REDIS_URL": redis_url, "CRUD_URL": crud_url, "INTERNAL_TOKEN": "t"}
        own |= {"NUMBERING_PORT": str(self.port), "CRUD_PUBLIC_URL": "http://public"}
        own |= tree.import_variables()
        log = directory / f"numbering-{self.port}.log"
        code = environment.pop("command", "")
        command = ["-c", code] if code else ["-m", "numbering_service"]
        super().__init__(log, [sys.executable, *command], **own | environment)
        self.wait_for(lambda: request(self.port, "GET", "/health/live").status == 200)

    def lines(self) -> list[Line]:
        """The log so far."""
        return json_lines(self.log)


class Reply(NamedTuple):
    """An answer; status 0 when there was none."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def number(self) -> int:
        """The number of what was created, the first of several."""
        assert self.status == 201, (self.status, self.body)
        document: dict[str, int] = json.loads(self.body)
        return document.get("number") or document["first_number"]

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        code: str = json.loads(self.body)["code"]
        return code


class Client:
    """One keep-alive connection, as plain and as fast as a load needs it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: str | None = None, key: str = "") -> Reply:
        sent = b"" if body is None else json.dumps({"body": body}).encode()
        headers = {"Content-Type": "application/json"} if sent else {}
        if key:
            headers["Idempotency-Key"] = key
        return await self.request("POST", path, sent, headers)

    async def post_bulk(self, path: str, bodies: Iterable[str], key: str = "") -> Reply:
        sent = json.dumps({"messages": [{"body": body} for body in bodies]}).encode()
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        return await self.request("POST", path, sent, headers)

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def send(self, data: bytes) -> Reply:
        """Send bytes as they are and read one answer."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(LOOPBACK, self.port)
        assert self.reader is not None
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()
        reply = await read_reply(self.reader)
        if reply.status == 0 or reply.headers.get("connection") == "close":
            await self.close()
        return reply

    async def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            with contextlib.suppress(ConnectionError):
                await self.writer.wait_closed()
        self.writer = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:-2])
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        return Reply(0, {}, repr(error).encode())
    return Reply(int(head[0].split()[1]), headers, body)


def request(
    port: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Reply:
    """One request on a connection of its own; status 0 when nobody listens."""

    async def ask() -> Reply:
        try:
            async with Client(port) as client:
                return await client.request(method, path, body, headers)
        except ConnectionError as error:
            return Reply(0, {}, repr(error).encode())

    return asyncio.run(ask())


async def load(
    port: int, clients: int, each: int, ask: Callable[[Client, int, int], "asyncio.Future[Reply]"]
) -> list[Reply]:
    """Clients that each ask so many times, one after the other."""

    async def one(client_number: int) -> list[Reply]:
        async with Client(port) as client:
            return [await ask(client, client_number, turn) for turn in range(each)]

    answers = await asyncio.gather(*(one(number) for number in range(clients)))
    return [reply for replies in answers for reply in replies]


class Storage:
    """Stands where worker and crud stand: stores what was accepted, tells the highest number."""

    def __init__(self, redis_url: str) -> None:
        self.redis = redis.asyncio.Redis.from_url(redis_url, protocol=2)
        self.former: list[redis.asyncio.Redis] = []
        self.applications = {A}
        self.stored: dict[tuple[str, int | None], dict[int, str]] = {}
        self.entries: list[Entry] = []
        self.repeated: list[Entry] = []
        self.asked: Counter[str] = Counter()
        self.paused = False
        self.is_draining = False
        self.pause_seconds = 0.003
        self.answers_with = b"200 OK"
        self.url = ""
        self.writers: list[asyncio.StreamWriter] = []

    def move(self, redis_url: str) -> None:
        """Store from another server from now on."""
        self.former.append(self.redis)
        self.redis = redis.asyncio.Redis.from_url(redis_url, protocol=2)

    def chat(self, token: str, number: int, highest_message: int = 0) -> None:
        """Have a chat with so many messages stored already."""
        self.stored.setdefault((token, None), {})[number] = ""
        of_chat = self.stored.setdefault((token, number), {})
        of_chat |= dict.fromkeys(range(1, highest_message + 1), "stored before")

    def numbers(self, token: str = A, chat: int | None = 1) -> list[int]:
        return sorted(self.stored.get((token, chat), {}))

    async def drain(self) -> int:
        """Store what is in the stream now."""
        found = await self.redis.xrange(keys.ACCEPTED, count=1000)
        for entry_id, fields in found:
            self.store(decode(entry_id, fields))
        if found:
            milliseconds, counter = found[-1][0].decode().split("-")
            after = f"{milliseconds}-{int(counter) + 1}"
            await self.redis.xtrim(keys.ACCEPTED, minid=after, approximate=False)
        return len(found)

    def store(self, entry: Entry) -> None:
        of_sequence = self.stored.setdefault((entry.access_token, entry.chat_number), {})
        known = any(entry.entry_id == each.entry_id for each in self.entries[-2000:])
        if entry.number in of_sequence and not known:
            self.repeated.append(entry)
        if not known:
            self.entries.append(entry)
            of_sequence[entry.number] = entry.body
        if entry.is_chat:
            self.stored.setdefault((entry.access_token, entry.number), {})

    async def keep_draining(self) -> None:
        while True:
            with contextlib.suppress(redis.RedisError, OSError):
                self.is_draining = not self.paused
                if self.is_draining and await self.drain():
                    continue
            self.is_draining = False
            await asyncio.sleep(self.pause_seconds)

    async def pause(self) -> None:
        """Store nothing from now on, nor what is being read at this moment."""
        self.paused = True
        while self.is_draining:
            await asyncio.sleep(0.001)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The internal endpoint, and /health/live."""
        self.writers.append(writer)
        gone = (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError)
        with contextlib.closing(writer), contextlib.suppress(*gone):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split()[1].decode()
                self.asked[path] += 1
                status, body = self.look_up(path)
                writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(body)))
                writer.write(body)

    def look_up(self, path: str) -> tuple[bytes, bytes]:
        if path.startswith(APPLICATIONS_PATH):
            asked = path.partition("=")[2].split(",")
            known = [token for token in asked if token in self.applications]
            return self.answers_with, json.dumps({ACCESS_TOKENS: known}).encode()
        token, _, chat = path.removeprefix("/internal/sequences/").partition("/")
        if self.answers_with != b"200 OK" or path.startswith("/health"):
            return self.answers_with, b"{}"
        if token not in self.applications or (chat and (token, int(chat)) not in self.stored):
            return b"404 Not Found", b"{}"
        highest = max(self.stored.get((token, int(chat) if chat else None), {}), default=0)
        return b"200 OK", b'{"highest_number":%d}' % highest


@asynccontextmanager
async def storage(redis_url: str, *, port: int = 0) -> AsyncIterator[Storage]:
    """A `Storage` that drains and answers, and has drained everything at the end."""
    store = Storage(redis_url)
    server = await asyncio.start_server(store.answer, LOOPBACK, port)
    store.url = f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    draining = asyncio.create_task(store.keep_draining())
    try:
        yield store
        while await store.drain():
            pass
    finally:
        # Until it has ended: a command half sent would be left to the collector, and one that
        # was being retried swallows the first cancellation.
        while not draining.done():
            draining.cancel()
            await asyncio.wait({draining}, timeout=0.1)
        server.close()
        for writer in store.writers:
            writer.close()
        for client in (store.redis, *store.former):
            await client.aclose()
        await asyncio.sleep(0.01)  # Connections are closed by the loop's next turn, not at once.


class Waiter(Pending):
    """A creation that waits for its answer, without HTTP."""

    is_disconnected = False

    def __init__(self, creation: AnyCreation, *, size: int = 0) -> None:
        super().__init__(creation, size, 0.0)
        self.was_abandoned = False
        self.answers: list[Answer] = []

    def settle(self, answer: Answer) -> None:
        self.answers.append(answer)

    def abandon(self) -> None:
        self.was_abandoned = True

    @property
    def number(self) -> int:
        [answer] = self.answers
        assert isinstance(answer, Created), answer
        return answer.number

    @property
    def problem(self) -> Problem:
        [answer] = self.answers
        assert isinstance(answer, Problem), answer
        return answer


@asynccontextmanager
async def batching(redis_url: str, **settings: Any) -> AsyncIterator[Batcher]:
    """A `Batcher` that has settled everything at the end."""
    shares = settings.pop("shares", None) or Shares(
        settings.pop("max_waiting", 10_000), MAX_WAITING_BYTES
    )
    usual = {"max_backlog": 100_000, "patience_seconds": 8}
    shard, *own = (settings.pop(name, None) for name in ("shard", "window", "held_back"))
    queue = ShardQueue(shares, shard or ONLY, *own)
    batcher = Batcher(
        ShardServers(redis_url), queues=[queue], wake_up=lambda _, __: None, **(usual | settings)
    )
    try:
        yield batcher
        await batcher.drain(10)
    finally:
        await batcher.aclose()


async def number(redis_url: str, *creations: Creation, **settings: Any) -> list[Answer]:
    """Have creations numbered by one batch; their answers."""
    waiters = [Waiter(creation) for creation in creations]
    async with batching(redis_url, **settings) as batcher:
        for waiter in waiters:
            batcher.submit(waiter)
    return [answer for waiter in waiters for answer in waiter.answers]


class Proxy:
    """Stands before Valkey; loses or replaces chosen replies, whose commands were done by then.

    Not `tests.links`: it counts replies, and runs in the test's own event loop, so that a
    reply is lost at one known point of a schedule.

    `target` is the port that new connections lead to.
    """

    def __init__(self, valkey_port: int) -> None:
        self.target = valkey_port
        self.port = 0
        self.replies_to_lose = 0
        self.instead_of_replies: list[bytes] = []
        self.server: asyncio.Server | None = None
        self.connections: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> "Proxy":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The address of Valkey through it."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.connect, LOOPBACK, 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            to_reader, to_writer = await asyncio.open_connection(LOOPBACK, self.target)
            with contextlib.closing(to_writer), contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(
                    self.forward(reader, to_writer), self.bring_back(to_reader, writer)
                )

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                writer.write(data)
        writer.close()

    async def bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                if self.replies_to_lose:
                    self.replies_to_lose -= 1
                    break
                writer.write(self.instead_of_replies.pop(0) if self.instead_of_replies else data)
        writer.close()

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
        tasks = [task for task in self.connections if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
