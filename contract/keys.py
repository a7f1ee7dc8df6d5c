"""Every Redis key of the system: what it holds, who writes it and how long it lives.

Where there are several shards, the tag of one stands before each name (see `shards`): an
application's before the keys that hold its token, its chats or its entries, and before the keys of
its persister; the first shard's before all others. Channels have none.

accepted                         stream: entries numbered and not yet stored, the backlog;
                                 written by numbers.lua, until they are stored
sequence:chats:<token>           highest chat number handed out; started by crud_service with the
                                 application, advanced by numbers.lua, seeded by write_sequence.lua
sequence:messages:<token>:<chat> highest message number; started and advanced by numbers.lua, seeded
                                 likewise; both live for a week after the last use, or hold
                                 "unknown", for a second, when there is no such application or chat
                                 "deleting", for seconds, while crud_service commits its deletion
                                 "deleted", for a week, once that is committed. On the chats of an
                                 application, both apply to the messages of all of its chats as well
                                 and "deleted", for eight days, also stands for a rotated token
idempotency:<token>:<chat>:<key> "<digest> <number>" of the first request with that key;
                                 written by numbers.lua, 24 hours
limits                           hash: "<creations a second> <burst>" of each application that has a
                                 limit of its own, by token; crud_service, from its table
limits:synchronised              the hash was compared with the table; worker, half a minute
limiter:<token>                  when the application will have paid off what it created; written by
                                 numbers.lua, until then
batch:<id>                       the script's answer, for a retry of the same batch;
                                 written by numbers.lua, a minute
lock:<sequence key>              token of that sequence's seeding; numbering service, 5 seconds,
                                 deleted by the process that starts the sequence of something new,
                                 or marks the sequence of something deleted
wake_up:persist, wake_up:index   a task is on its way; the sender of the task, a second. After an
                                 outage the worker sets it too, so that retries are a second apart
lease:persist, lease:index       name of the worker that is persisting or indexing; 2.5 seconds,
                                 renewed by the worker for as long as it works
workers                          sorted set: workers that persist, by when they are forgotten; each
                                 renews its own once a second, where there are several shards
doorbell:index                   list of at most one request id: something changed, the indexer
                                 should look; rung by the persister and by crud_service
changed                          channel: chats that a commit has changed (see `changed_chats`);
                                 published by the persister and by crud_service
metrics:worker                   hash: what the workers counted; worker, never expires

An idle sequence may expire, be deleted by hand or be lost: the next request
seeds it again from the backlog and the tables (see `numbering_service.seeding`).
"""

ACCEPTED = "accepted"
WAKE_UP_PERSIST = "wake_up:persist"
WAKE_UP_INDEX = "wake_up:index"
LEASE_PERSIST = "lease:persist"
LEASE_INDEX = "lease:index"
DOORBELL_INDEX = "doorbell:index"
WORKERS = "workers"
CHANGED_CHATS = "changed"
WORKER_METRICS = "metrics:worker"
LIMITS = "limits"
LIMITS_SYNCHRONISED = "limits:synchronised"
LIMITER = "limiter:"

UNKNOWN = "unknown"
DELETING = "deleting"
DELETED = "deleted"

SEQUENCE_TTL_SECONDS = 7 * 24 * 3600
IDEMPOTENCY_TTL_SECONDS = 24 * 3600
BATCH_TTL_SECONDS = 60
SEED_LOCK_TTL_SECONDS = 5
UNKNOWN_TTL_MS = 1000
DELETING_TTL_MS = 5000
WAKE_UP_TTL_MS = 1000
LEASE_TTL_MS = 2500
LIMITS_SYNCHRONISED_TTL_SECONDS = 30


def chat_sequence(access_token: str) -> str:
    """Return the key of the sequence of an application's chats."""
    return f"sequence:chats:{access_token}"


def message_sequence(access_token: str, chat_number: int) -> str:
    """Return the key of the sequence of a chat's messages."""
    return f"{message_sequences(access_token)}{chat_number}"


def message_sequences(access_token: str) -> str:
    """Prefix of the keys of all message sequences of an application."""
    return f"sequence:messages:{access_token}:"


def idempotency(access_token: str, chat_number: int | None, key: str) -> str:
    """Return the key that remembers an answered creation.

    Args:
        access_token: the application.
        chat_number: the chat of a message; None if a chat was created.
        key: the client's `Idempotency-Key`.
    """
    return f"idempotency:{access_token}:{chat_number or ''}:{key}"


def application_prefixes(access_token: str) -> tuple[str, ...]:
    """Return the prefixes of an application's keys, except for locks, which live for seconds."""
    sequences = chat_sequence(access_token), message_sequences(access_token)
    return *sequences, f"idempotency:{access_token}:", f"{LIMITER}{access_token}"


def batch(batch_id: str) -> str:
    """Return the key of the script's answer to a batch, by its id."""
    return f"batch:{batch_id}"


def seed_lock(sequence_key: str) -> str:
    """Return the key of the lock that is held while a sequence is seeded."""
    return f"lock:{sequence_key}"
