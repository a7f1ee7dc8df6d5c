"""Every error answer of both services, as RFC 9457 problem documents.

Problem
├── MalformedBody          400  malformed_body
├── MalformedRequest       400  malformed_request
├── Unauthorized           401  unauthorized            WWW-Authenticate
├── NotFound               404  not_found
│   └── NotStoredYet       404  not_stored_yet          Retry-After
├── MethodNotAllowed       405  method_not_allowed      Allow
├── RequestTimeout         408  request_timeout
├── MessageDeleted         409  message_deleted
├── ChatDeleted            410  chat_deleted
├── PreconditionFailed     412  precondition_failed
├── BodyTooLarge           413  body_too_large
├── UnsupportedMediaType   415  unsupported_media_type
├── ValidationFailed       422  validation_failed       errors: [{field, message}]
│   └── KeyReused          422  idempotency_key_reused
├── TooManyStreams         429  too_many_streams        Retry-After
├── RateLimited            429  rate_limited            Retry-After, RateLimit, RateLimit-Policy
├── HeadersTooLarge        431  headers_too_large
├── InternalError          500  internal_error
└── StoreUnavailable       503  store_unavailable       Retry-After
    └── Overloaded         503  overloaded              Retry-After
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import ClassVar
from urllib.parse import quote

CONTENT_TYPE = "application/problem+json"
MAX_INSTANCE = 512


class Problem(Exception):
    """An error answer with status, stable code and detail; can be raised anywhere."""

    status: ClassVar[int]
    code: ClassVar[str]
    default_detail: ClassVar[str] = ""
    default_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self, detail: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail or self.default_detail)
        self.detail = detail or self.default_detail
        self.headers = dict(headers or self.default_headers)

    def document(self, instance: str, request_id: str) -> dict[str, object]:
        """Return the problem document; `instance` is the request's path, decoded or not."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": quote(instance[:MAX_INSTANCE], safe="/%:")[:MAX_INSTANCE],
            "code": self.code,
            "request_id": request_id,
        }

    def render(self, instance: str, request_id: str) -> bytes:
        return json.dumps(self.document(instance, request_id), ensure_ascii=False).encode()


class MalformedBody(Problem):
    status, code = 400, "malformed_body"
    default_detail = "The body cannot be parsed."


class MalformedRequest(Problem):
    status, code = 400, "malformed_request"
    default_detail = "The request cannot be parsed."


class Unauthorized(Problem):
    status, code = 401, "unauthorized"
    default_detail = "A valid bearer token is required in the Authorization header."
    default_headers: ClassVar = {"WWW-Authenticate": "Bearer"}


class NotFound(Problem):
    status, code = 404, "not_found"
    default_detail = "There is nothing at this path."


class NotStoredYet(NotFound):
    code = "not_stored_yet"
    default_detail = "This number was assigned but is not stored yet; retry in a moment."
    default_headers: ClassVar = {"Retry-After": "1"}


class MethodNotAllowed(Problem):
    status, code = 405, "method_not_allowed"

    def __init__(self, allow: Sequence[str]) -> None:
        methods = ", ".join(allow)
        detail = (
            f"This path only supports {methods} on this service. numbering_service creates chats"
            " and messages, crud_service does everything else."
        )
        super().__init__(detail, headers={"Allow": methods})


class RequestTimeout(Problem):
    status, code = 408, "request_timeout"
    default_detail = "The request took too long to arrive."


class MessageDeleted(Problem):
    status, code = 409, "message_deleted"
    default_detail = "This message was deleted; it cannot be changed."


class ChatDeleted(Problem):
    status, code = 410, "chat_deleted"
    default_detail = "This chat was deleted, with all of its messages."


class PreconditionFailed(Problem):
    status, code = 412, "precondition_failed"
    default_detail = "The resource has changed since you read it; read it again."


class BodyTooLarge(Problem):
    status, code = 413, "body_too_large"
    default_detail = "The request body must not exceed 1 MiB."


class UnsupportedMediaType(Problem):
    status, code = 415, "unsupported_media_type"
    default_detail = (
        "Send application/json, application/x-www-form-urlencoded or multipart/form-data, "
        "in UTF-8 and without a content encoding."
    )


class ValidationFailed(Problem):
    status, code = 422, "validation_failed"

    def __init__(self, field: str, message: str, *more: tuple[str, str]) -> None:
        super().__init__(f"{field}: {message}")
        errors = ((field, message), *more)
        self.errors = [{"field": field, "message": message} for field, message in errors]

    def document(self, instance: str, request_id: str) -> dict[str, object]:
        return {**super().document(instance, request_id), "errors": self.errors}


class KeyReused(ValidationFailed):
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("Idempotency-Key", "This key was already used with a different payload.")


class TooManyStreams(Problem):
    status, code = 429, "too_many_streams"
    default_detail = "This application has as many open streams as it may have. Close some."
    default_headers: ClassVar = {"Retry-After": "2"}


class RateLimited(Problem):
    status, code = 429, "rate_limited"
    default_detail = "This application creates faster than its limit allows; nothing was changed."


class HeadersTooLarge(Problem):
    status, code = 431, "headers_too_large"
    default_detail = "The request's headers are too large."


class InternalError(Problem):
    status, code = 500, "internal_error"
    default_detail = "An internal error occurred. The logs have the details under this request id."


class StoreUnavailable(Problem):
    """A store is unavailable; the detail says "nothing was changed" only where that is known."""

    status, code = 503, "store_unavailable"
    default_detail = "A store that this request needs is unavailable. Try again."

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})

    @classmethod
    def nothing_changed(cls) -> "StoreUnavailable":
        return cls("A store that this request needs is unavailable; nothing was changed.")

    @classmethod
    def outcome_unknown(cls) -> "StoreUnavailable":
        return cls(
            "A store became unavailable before it confirmed the change; "
            "the outcome is not known. Read the resource to find out."
        )


class Overloaded(StoreUnavailable):
    """Refused before anything was done."""

    code = "overloaded"
    default_detail = "The service is overloaded; nothing was changed. Try again later."
