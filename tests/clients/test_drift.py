"""The types of both clients are those of the services' OpenAPI documents.

A type is compared as text, in TypeScript's words: `sender?: string`.
"""

import re
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from chat_backend_client import errors, resources
from crud_service.schema.openapi import openapi_document
from local_stack.applications import ROOT
from numbering_service.main import NumberingService
from numbering_service.settings import Settings

Fields = dict[str, str]

CRUD = openapi_document(admin_token=False)
NUMBERING = NumberingService(Settings.from_env({})).api.openapi()
CHATS = "/applications/{access_token}/chats"
MESSAGES = CHATS + "/{chat_number}/messages"
NAMES = {int: "number", str: "string", bool: "boolean", NoneType: "null"}
JSON_NAMES = {"integer": "number", "object": "Metadata"}
# Parameters of lists that are arguments of their own in the clients.
ARGUMENTS = {"limit?", "wait?", "changed_after?", "cursor?", "keyword"}


def python_types() -> dict[str, Fields]:
    shapes = [it for it in vars(resources).values() if is_typeddict(it)]
    return {shape.__name__: python_fields(shape) for shape in shapes}


def python_fields(shape: Any) -> Fields:
    hints = get_type_hints(shape, include_extras=True)
    return {
        name + ("" if name in shape.__required_keys__ else "?"): python_name(hint)
        for name, hint in hints.items()
    }


def python_name(hint: Any) -> str:
    """Return a type in TypeScript's words."""
    if get_origin(hint) is NotRequired:
        return python_name(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return union(f'"{value}"' for value in get_args(hint))
    if isinstance(hint, UnionType):
        return union(python_name(each) for each in get_args(hint))
    if hint == resources.Metadata:
        return "Metadata"
    return NAMES.get(hint) or str(hint.__name__)


def typescript_types() -> dict[str, Fields]:
    """Return the interfaces of the module, which stand in the order of their inheritance."""
    text = (ROOT / "clients" / "typescript" / "src" / "resources.ts").read_text()
    found: dict[str, Fields] = {}
    for name, bases, block in re.findall(
        r"^export interface (\w+)(?: extends ([\w, ]+))? \{(.*?)\}", text, re.MULTILINE | re.DOTALL
    ):
        own = re.findall(r"^  (\w+\??): (.+);$", block, re.MULTILINE)
        found[name] = {}
        for base in bases.split(", ") if bases else []:
            found[name] |= found[base]
        found[name] |= {field: union(kind.split(" | ")) for field, kind in own}
    return found


def documented_types() -> dict[str, Fields]:
    """Return the schemas of both documents by the names that the clients give them."""
    schemas = CRUD["components"]["schemas"]
    names = ("Application", "Chat", "ListedChat", "Message", "FoundMessage")
    found = {name: schema_fields(schemas[name]) for name in names}
    # Each may be missing, as long as one is there.
    changes = schema_fields(schemas["MessageFields"])
    found["ChatChanges"] = schema_fields(schemas["ChatFields"])
    found["MessageChanges"] = {f"{name.rstrip('?')}?": it for name, it in changes.items()}
    for path, created, new in (
        (CHATS, "CreatedChat", "ChatAttributes"),
        (MESSAGES, "CreatedMessage", "NewMessage"),
        (f"{MESSAGES}/bulk", "CreatedMessages", None),
    ):
        operation = NUMBERING["paths"].get(path, {}).get("post", {})
        for name, content in ((created, operation.get("responses", {}).get("201")),
                              (new, operation.get("requestBody"))):  # fmt: skip
            if name and content:
                schema = content["content"]["application/json"]["schema"]
                found[name] = schema_fields(resolved(NUMBERING, schema))
    for name, path in (
        ("ApplicationQuery", "/applications"),
        ("ChatQuery", CHATS),
        ("MessageQuery", MESSAGES),
        ("SearchQuery", f"{MESSAGES}/search"),
    ):
        found[name] = query_fields(path)
    return found


def resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within a document."""
    while "$ref" in part:
        found: Any = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def schema_fields(schema: dict[str, Any]) -> Fields:
    required = set(schema.get("required", ()))
    return {
        name + ("" if name in required else "?"): schema_name(content)
        for name, content in schema["properties"].items()
    }


def query_fields(path: str) -> Fields:
    parameters = [resolved(CRUD, it) for it in CRUD["paths"][path]["get"]["parameters"]]
    return {
        it["name"] + ("" if it.get("required") else "?"): schema_name(it["schema"])
        for it in parameters
        if it["in"] == "query"
    }


def schema_name(schema: dict[str, Any]) -> str:
    """Return the type of a schema in TypeScript's words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return union(f'"{value}"' for value in schema["enum"])
    if "anyOf" in schema or "oneOf" in schema:
        return union(schema_name(each) for each in schema.get("anyOf") or schema["oneOf"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return union(JSON_NAMES.get(kind, kind) for kind in kinds)


def union(names: Any) -> str:
    return " | ".join(sorted(names))


def test_both_clients_have_the_same_types() -> None:
    assert typescript_types() == python_types()


@pytest.mark.parametrize("name", documented_types())
def test_types_are_those_of_the_documents(name: str) -> None:
    documented, known = documented_types()[name], python_types()[name]
    if name.endswith("Query"):
        documented = {field: it for field, it in documented.items() if field not in ARGUMENTS}
    missing = {field: it for field, it in documented.items() if known.get(field) != it}
    assert missing == {}, f"{name} in clients/python and clients/typescript has to have these"
    assert known.keys() - documented.keys() == set(), f"{name} has keys of no document"


def test_problems_have_the_documented_fields() -> None:
    documented = {
        name.rstrip("?") for name in schema_fields(CRUD["components"]["schemas"]["Problem"])
    }
    problem = errors.Problem(404)
    assert documented - vars(problem).keys() == {"type", "instance"}
    items = CRUD["components"]["schemas"]["Problem"]["properties"]["errors"]["items"]
    assert schema_fields(items) == python_types()["FieldError"]


def test_a_new_key_is_noticed() -> None:
    """The comparison itself sees a key, its type, and whether it is required."""
    schema = {"required": ["a"], "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    assert schema_fields(schema) == {"a": "number", "b?": "string"}
    assert python_types()["ListedChat"]["last_message?"] == "Message | null"
