"""What a check of the search indexes found."""

from dataclasses import dataclass, field
from typing import NamedTuple

SAMPLES = 20


class Key(NamedTuple):
    """Where a text is stored, and the message that it belongs to."""

    chat_id: int
    number: int
    message_id: int


@dataclass(slots=True)
class Found:
    """Confirmed differences: message id → what is wrong."""

    texts: dict[int, str] = field(default_factory=dict)
    documents: dict[int, str] = field(default_factory=dict)
    stray_texts: list[Key] = field(default_factory=list)


@dataclass(slots=True)
class Differences:
    """The number of differences of one kind, and descriptions of the first SAMPLES of them."""

    count: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, sample: str) -> None:
        self.count += 1
        if len(self.samples) < SAMPLES:
            self.samples.append(sample)


@dataclass(slots=True)
class Report:
    checked: int = 0
    pending: int = 0
    texts: Differences = field(default_factory=Differences)
    documents: Differences = field(default_factory=Differences)
    blocks: Differences = field(default_factory=Differences)

    @property
    def differs(self) -> bool:
        return bool(self.texts.count or self.documents.count or self.blocks.count)
