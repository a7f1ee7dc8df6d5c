"""How much is measured: the real thing, and a small one that shows that it runs."""

from dataclasses import dataclass, field

from bench.dataset import Size


@dataclass(frozen=True, slots=True)
class Sizes:
    """Seconds of a load, and amounts of data."""

    name: str = "full"
    seconds: int = 6
    warm_up: bool = True
    yardstick_requests: int = 200_000
    clients: tuple[int, ...] = (64, 256, 16, 1)
    chats: int = 1_000
    warm_creations: int = 100_000
    many_creations: int = 1_000_000
    memory_seconds: int = 4
    pipeline_seconds: int = 60
    lag_seconds: int = 30
    backlog: int = 200_000
    catch_up_seconds: int = 300
    # Seconds between two messages, and how many of them.
    paces: tuple[tuple[float, int], ...] = (
        (0.1, 400),
        (0.25, 160),
        (0.5, 120),
        (0.7, 90),
        (0.9, 70),
        (1, 60),
        (1.5, 40),
        (3, 20),
        (7, 10),
        (60, 2),
    )
    search: Size = field(default_factory=Size)
    search_warm_up: int = 120
    keywords: int = 200
    checked_keywords: int = 12
    grams: Size = field(default_factory=lambda: Size(messages=200_000, chats=501))
    grams_rounds: int = 2
    grams_keywords: int = 20
    messages: int = 1_000_000
    readers: tuple[int, ...] = (1, 16, 64)
    long_list: int = 100_000
    large_rows: int = 1_000_000
    list: int = 10_000
    rounds: int = 3
    streams: int = 10_000
    idle_stream_seconds: int = 30
    followers: int = 1_000
    fan_out_messages: int = 200
    live_rounds: int = 5
    settle_seconds: int = 20
    idle_seconds: int = 60
    # How many messages are imported and exported.
    transfers: tuple[int, int] = (50_000, 500_000)


FULL = Sizes()
QUICK = Sizes(
    name="quick",
    seconds=1,
    warm_up=False,
    yardstick_requests=20_000,
    chats=50,
    warm_creations=5_000,
    many_creations=20_000,
    memory_seconds=1,
    pipeline_seconds=5,
    lag_seconds=3,
    backlog=10_000,
    catch_up_seconds=60,
    paces=((0.1, 10), (0.5, 4), (1, 3)),
    search=Size(messages=6_000, chats=30, longest=2_000),
    search_warm_up=2,
    keywords=40,
    checked_keywords=4,
    grams=Size(messages=6_000, chats=31, longest=3_000),
    grams_rounds=1,
    grams_keywords=4,
    messages=20_000,
    readers=(1, 16),
    long_list=5_000,
    large_rows=20_000,
    list=2_000,
    rounds=1,
    streams=300,
    idle_stream_seconds=3,
    followers=100,
    fan_out_messages=20,
    live_rounds=1,
    settle_seconds=5,
    idle_seconds=10,
    transfers=(1_000, 4_000),
)
