"""The plain design, to compare with: what one writes first, on the same server and Redis.

`python -m bench.plain` serves `POST /applications/{token}/chats/{chat}/messages`
on NUMBERING_PORT: a route with a pydantic body, and for each request a look at
the sequence, a lock, INCR, and a Celery task with the message.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from celery import Celery
from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from redis.asyncio import Redis

from contract.keys import message_sequence

QUEUE = "plain"
LOCK_SECONDS = 5

redis_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
redis = Redis.from_url(redis_url)
celery = Celery("plain", broker=redis_url, set_as_current=False)
celery.conf.task_ignore_result = True


class NewMessage(BaseModel):
    """What is posted."""

    body: str


class Created(BaseModel):
    """What is answered."""

    number: int
    chat_number: int
    access_token: str


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/health/live")
async def live() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/applications/{access_token}/chats/{chat_number}/messages", status_code=201)
async def create(access_token: str, chat_number: int, message: NewMessage, to: Response) -> Created:
    """Number a message and hand it to a worker."""
    key = message_sequence(access_token, chat_number)
    if await redis.get(key) is None:
        await redis.set(key, 0, nx=True)
    # With redis-py's own pause of 100 ms between two tries this would look worse than it is.
    async with redis.lock(f"lock:{key}", timeout=LOCK_SECONDS, sleep=0.01):
        number = int(await redis.incr(key))
    await run_in_threadpool(send, access_token, chat_number, number, message.body)
    to.headers["Location"] = f"/applications/{access_token}/chats/{chat_number}/messages/{number}"
    return Created(number=number, chat_number=chat_number, access_token=access_token)


def send(access_token: str, chat_number: int, number: int, body: str) -> None:
    """The task that would store the message; nobody runs it here."""
    celery.send_task("plain.store", (access_token, chat_number, number, body), queue=QUEUE)


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(os.environ.get("NUMBERING_PORT", "8080")),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        backlog=4096,
    )
