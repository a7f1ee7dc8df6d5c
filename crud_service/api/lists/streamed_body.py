"""Limits for long answers being sent: at most N concurrent, as each keeps a piece in memory."""

from collections.abc import Iterator

from crud_service.limited_places import Places

REFUSED = "Too many long lists are being read. Try again later, or request pages."
COMPLETE_LISTS = Places(100, 10, REFUSED)
# A page has an end, and its pieces are as small: more of them may be read concurrently.
LONG_PAGES = Places(200, 40, REFUSED)
# A search answer is built in full, so only a few large ones may be in memory.
LARGE_ANSWERS = Places(8, 2, REFUSED)
LARGE_BYTES = 1024 * 1024
SLICE_BYTES = 256 * 1024


def sliced(whole: bytes) -> Iterator[bytes]:
    """Yield an answer in pieces of at most SLICE_BYTES."""
    for start in range(0, len(whole), SLICE_BYTES):
        yield whole[start : start + SLICE_BYTES]


class StreamedBody:
    """The pieces of an answer, which holds a place until `close`.

    The constructor raises Overloaded if no place is free. It makes the first piece: what fails
    there is answered and logged as an error, and not as an answer that was cut short. `owner` is an
    access token, or empty for an answer that belongs to no application; `length` is the answer's in
    bytes, where it is known beforehand.
    """

    def __init__(
        self, places: Places, owner: str, pieces: Iterator[bytes], length: int | None = None
    ) -> None:
        self.length = length
        self._places: Places | None = None
        self._owner = owner
        self._pieces = pieces
        places.take(owner)
        self._places = places
        try:
            self._first = next(pieces, None)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, None
        return next(self._pieces) if first is None else first

    def close(self) -> None:
        """Free the place; the server calls this at the end, after success and failure alike."""
        places, self._places = self._places, None
        if places is not None:
            places.give_back(self._owner)

    __del__ = close
