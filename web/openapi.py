"""What the OpenAPI documents of both services share, and what the page that shows them may load."""

from typing import Any

from contract.paths import MAX_NUMBER
from web.metadata import MAX_METADATA_BYTES, MAX_NESTING
from web.problems import (
    BodyTooLarge,
    HeadersTooLarge,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    Overloaded,
    Problem,
    RequestTimeout,
)

Json = dict[str, Any]

# Swagger UI uses inline styles and icons in data: URLs.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

# The problems of any request, whatever its operation; most of them are found before its path is.
COMMON_PROBLEMS: tuple[type[Problem], ...] = (
    MalformedRequest,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    HeadersTooLarge,
    InternalError,
    Overloaded,
)
COMMON_ERRORS = (
    "\n\nBesides the responses that an operation lists, any request may be answered "
    + ", ".join(f"{kind.status} `{kind.code}`" for kind in COMMON_PROBLEMS)
    + "."
)

# At least one non-whitespace character, and no U+0000. In a group, or else tools that generate
# requests put `maxLength` into the pattern, which takes seconds to compile with {0,65535} in it.
NOT_BLANK = r"^([^\u0000]*[^\s\u0000][^\u0000]*)$"

TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER}
METADATA: Json = {
    "type": "object",
    "description": f"Any JSON object of at most {MAX_METADATA_BYTES} bytes as compact JSON, "
    f"nested at most {MAX_NESTING} levels deep, without U+0000. Only in a JSON body.",
}


def text_schema(max_length: int, description: str) -> Json:
    """Return the JSON Schema of a text that is not blank; `max_length` is in characters."""
    return {
        **TEXT,
        "minLength": 1,
        "maxLength": max_length,
        "pattern": NOT_BLANK,
        "description": description,
    }


def record(properties: Json, example: Json | None = None, optional: Json | None = None) -> Json:
    """Return the schema of an object without other keys.

    Args:
        properties: the schemas of what it has, by name.
        example: such an object.
        optional: the schemas of what may be missing.
    """
    schema: Json = {
        "type": "object",
        "required": list(properties),
        "properties": {**properties, **(optional or {})},
        "additionalProperties": False,
    }
    return schema | ({"examples": [example]} if example else {})


HEALTH_STATUS: Json = {"type": "string", "enum": ["ok", "degraded", "unavailable"]}
LATENCY_MS: Json = {"type": "number"}
UNAVAILABLE_SHARDS: Json = {"type": "array", "items": {"type": "integer"}}


def health_schema(dependency: Json, *names: str, optional: Json | None = None) -> Json:
    """Return the schema of the answer of a readiness check.

    Args:
        dependency: the schema of one dependency.
        names: those that each answer has.
        optional: the schemas of those that may be missing.
    """
    dependencies = record(dict.fromkeys(names, dependency), optional=optional)
    return record({"status": HEALTH_STATUS, "dependencies": dependencies})


PROBLEM: Json = record(
    {
        "type": {**TEXT, "format": "uri-reference"},
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "instance": {**TEXT, "format": "uri-reference"},
        "code": {**TEXT, "description": "A stable identifier of the kind of error."},
        "request_id": TEXT,
    },
    optional={"errors": {"type": "array", "items": record({"field": TEXT, "message": TEXT})}},
)
