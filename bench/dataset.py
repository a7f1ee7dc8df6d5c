"""A million messages to search in: 5,000 chats, one of them with 100,000 messages.

The text is the same each time, in words of several scripts whose frequencies
fall off as they do in language, in the order in which messages of many chats
arrive.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import psycopg

APPLICATION_TOKEN = "b" * 24
EMOJI = ("😀", "👍🏽", "❤️", "👩‍💻", "🎉", "🇪🇬")
WORDS = 20_000
ACCENTS = {"a": "á", "e": "é", "o": "ö", "u": "ü", "i": "î", "n": "ñ", "c": "ç"}
SYLLABLES = (
    "a an ar as be bo ca che co cu da de di do du e el en er es fa fi fo ga ge gi go gra ha he "
    "hi ho i in is ja ka ke ko la le li lo lu ma me mi mo mu na ne ni no nu o on or pa pe pi po "
    "pra pro qua ra re ri ro ru sa se shi so sta su ta te the ti to tra tu u un ur va ve vi vo "
    "wa we wi xa ya yo za zi"
)


@dataclass(frozen=True)
class Size:
    """How much to make."""

    messages: int = 1_000_000
    chats: int = 5_000
    longest: int = 100_000


def make_words(rng: random.Random) -> list[str]:
    """Different words, the most frequent first; one in eight is not plain Latin."""
    words: dict[str, None] = {}
    syllables = SYLLABLES.split()
    while len(words) < WORDS:
        words[make_word(rng, syllables, short=len(words) < 150)] = None
    return list(words)


def make_word(rng: random.Random, syllables: list[str], *, short: bool) -> str:
    kind = rng.random()
    if kind < 0.03:
        return "".join(chr(rng.randint(0x0430, 0x044F)) for _ in range(rng.randint(2, 9)))
    if kind < 0.06:
        return "".join(chr(rng.randint(0x4E00, 0x5FFF)) for _ in range(rng.randint(1, 4)))
    if kind < 0.08:
        return "".join(chr(rng.randint(0x0628, 0x063A)) for _ in range(rng.randint(2, 7)))
    if kind < 0.09:
        return rng.choice(EMOJI) * rng.randint(1, 3)
    word = "".join(rng.choices(syllables, k=rng.randint(1, 2 if short else 5)))
    if kind < 0.13:
        return "".join(ACCENTS.get(letter, letter) for letter in word)
    return word.capitalize() if kind < 0.2 else word


def make_bodies(rng: random.Random, count: int) -> Iterator[str]:
    """Bodies of 1 to 30 words, most of them around ten."""
    words = make_words(rng)
    weights = list(accumulate(1 / (rank + 3) for rank in range(len(words))))
    for start in range(0, count, 1000):
        lengths = [
            min(30, 1 + int(rng.expovariate(1 / 9))) for _ in range(min(1000, count - start))
        ]
        drawn = iter(rng.choices(words, cum_weights=weights, k=sum(lengths)))
        for length in lengths:
            yield " ".join([next(drawn) for _ in range(length)]) + rng.choice((".", "", "?", "!"))


def make_chats(rng: random.Random, size: Size) -> list[int]:
    """The chat number of each message, as they arrive; chat 1 is the longest."""
    others = size.chats - 1
    chats = [1] * size.longest
    chats += [2 + position % others for position in range(size.messages - size.longest)]
    rng.shuffle(chats)
    return chats


def fill(connection: psycopg.Connection, size: Size) -> None:
    """Store it all, counts included; the triggers feed the indexer as they always do."""
    rng = random.Random(1)
    chats = make_chats(rng, size)
    ids = create_chats(connection, chats, size)
    numbers = dict.fromkeys(ids, 0)
    copy = "COPY messages (chat_id, number, body) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(copy) as rows:
        for chat, body in zip(chats, make_bodies(rng, size.messages), strict=True):
            numbers[chat] += 1
            rows.write_row((ids[chat], numbers[chat], body))
    connection.execute("""
        UPDATE chats SET message_count = counted.messages
        FROM (SELECT chat_id, count(*) AS messages FROM messages GROUP BY chat_id) AS counted
        WHERE chats.id = counted.chat_id""")


def create_chats(connection: psycopg.Connection, chats: list[int], size: Size) -> dict[int, int]:
    """The application and its chats; gives each chat's id by its number."""
    application = connection.execute(
        "INSERT INTO applications (access_token, name, chat_count) VALUES (%s, 'bench', %s)"
        " RETURNING id",
        (APPLICATION_TOKEN, size.chats),
    ).fetchone()
    assert application is not None
    rows = connection.execute(
        "INSERT INTO chats (application_id, number)"
        " SELECT %s, number FROM generate_series(1, %s) AS number RETURNING number, id",
        (application[0], size.chats),
    )
    return dict(rows.fetchall())
