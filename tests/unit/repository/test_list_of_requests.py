"""The list of all requests in docs/api.md is that of the OpenAPI documents."""

import re

from crud_service.schema.openapi import openapi_document
from local_stack.applications import ROOT
from numbering_service.main import NumberingService
from numbering_service.settings import Settings

ROW = re.compile(r"^\| (`.*?) \| \W*(\w+)", re.MULTILINE)
REQUEST = re.compile("`([A-Z]+ [^`]+)`")


def served() -> dict[str, str]:
    """Return the port of each request, as the page writes both."""
    documents = {
        "3000": openapi_document(admin_token=False),
        "8080": NumberingService(Settings.from_env({})).api.openapi(),
    }
    ports: dict[str, str] = {}
    for port, document in documents.items():
        for path, methods in document["paths"].items():
            for method in methods:
                request = f"{method.upper()} {path}".replace("/applications/{access_token}", "…")
                ports[request] = "both" if request in ports else port
    return ports


def test_it_has_every_request_with_its_port() -> None:
    _, _, section = (ROOT / "docs" / "api.md").read_text().partition("## All requests\n")
    listed = {
        request: port
        for requests, port in ROW.findall(section)
        for request in REQUEST.findall(requests)
    }
    assert listed == served()
