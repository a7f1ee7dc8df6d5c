"""Schemas of values, and references, that several parts of the document use."""

from contract.paths import MAX_NUMBER, TOKEN_PATTERN
from crud_service.schema.openapi import examples
from web.openapi import Json

TIME = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
    "description": "UTC with milliseconds.",
    "examples": [examples.TIME],
}
COUNT = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
TOKEN = {"type": "string", "pattern": f"^{TOKEN_PATTERN}$", "examples": [examples.TOKEN]}


def ref(kind: str, name: str) -> Json:
    """Return a reference to a component, such as `schemas` and `Message`."""
    return {"$ref": f"#/components/{kind}/{name}"}
