"""The chat page has no build step: it comes with the JavaScript client, compiled."""

from local_stack.applications import ROOT
from tests.clients.packages import compiled_typescript

COPY = ROOT / "crud_service" / "demo_page" / "static" / "demo" / "client"


def test_the_client_of_the_chat_page_is_the_package() -> None:
    compiled = compiled_typescript().parent
    modules = {path.name: path.read_text() for path in compiled.glob("*.js")}
    copied = {path.name: path.read_text() for path in COPY.iterdir()}
    assert copied == modules, "type: make demo-client"
