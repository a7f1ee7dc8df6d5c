"""What can go wrong.

ChatBackendError
├── Problem       a service answered with an error
├── NoAnswer      no service answered while the request was repeated
└── StreamReset   a stream can't be resumed
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Self

import httpx

from chat_backend_client.resources import FieldError


class ChatBackendError(Exception):
    """Base of all errors of this package; `attempts` is how often the request was sent."""

    attempts = 1


class Problem(ChatBackendError):
    """An error response: a problem document (RFC 9457), or what a proxy sent instead of one.

    `code` is stable and documented; `unknown` if the response was no problem document.
    """

    def __init__(
        self,
        status: int,
        code: str = "unknown",
        detail: str = "",
        *,
        title: str = "",
        errors: list[FieldError] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail or title}")
        self.status, self.code, self.detail, self.title = status, code, detail, title
        self.errors = errors or []
        self.request_id, self.retry_after = request_id, retry_after

    @classmethod
    def from_response(cls, response: httpx.Response) -> Self:
        """Return the problem of an error response that was read."""
        try:
            document = response.json()
        except ValueError:
            document = {}
        # Only a problem document has a code of this kind; gateways have JSON of their own.
        if not isinstance(document, dict) or not isinstance(document.get("code"), str):
            document = {}
        return cls(
            response.status_code,
            document.get("code", "unknown"),
            document.get("detail", ""),
            title=document.get("title", response.reason_phrase),
            errors=document.get("errors"),
            request_id=document.get("request_id", response.headers.get("X-Request-ID")),
            retry_after=seconds_until(response.headers.get("Retry-After", "")),
        )


def seconds_until(retry_after: str) -> float | None:
    """Return what a `Retry-After` says, as seconds or as a date; None if it says neither."""
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    # Dates of HTTP have no other zone.
    if not retry_after.endswith(" GMT"):
        return None
    try:
        date = parsedate_to_datetime(retry_after).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


class NoAnswer(ChatBackendError):
    """The connection failed, or a success was not the service's: cut short, or a gateway's page.

    The outcome of a change is not known. `__cause__` is what went wrong in the last attempt.
    """


class StreamReset(ChatBackendError):
    """The service does not know the position: what it stored was reset, maybe to a backup.

    Read the list again, then follow with `last_event_id=error.last_event_id`.
    """

    def __init__(self, last_event_id: str) -> None:
        super().__init__("the stream's position is ahead of what is stored: read the list again")
        self.last_event_id = last_event_id
