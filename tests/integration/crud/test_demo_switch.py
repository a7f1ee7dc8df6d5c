"""The chat page is served in a local stack alone."""

import httpx
import pytest

from tests.integration.crud.test_access import start

URL = "http://127.0.0.1:8080"


def test_there_is_no_chat_page_unless_it_is_switched_on(http: httpx.Client) -> None:
    for path in ("/", "/demo", "/demo/", "/static/demo/main.js"):
        answer = http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("container", ["0", "1"])
def test_no_process_starts_with_a_chat_page_unless_the_stack_is_local(container: str) -> None:
    secrets = {"SECRET_KEY": "s 1", "INTERNAL_TOKEN": "i 1", "ADMIN_PASSWORD": "a 1"}
    refused = start(DEMO_NUMBERING_URL=URL, CONTAINER=container, **secrets)
    assert refused.returncode == 1
    assert "DEMO_NUMBERING_URL is for a local stack" in refused.stderr


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080; script-src *", "ftp://a", "//a", "http://"]
)
def test_the_address_of_the_chat_page_is_an_origin(
    clean_crud: dict[str, str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    from crud_service import settings, startup

    monkeypatch.setattr(settings, "LOCAL_STACK", True)
    monkeypatch.setattr(settings, "DEMO_NUMBERING_URL", URL)
    assert startup.refusals() == []
    monkeypatch.setattr(settings, "DEMO_NUMBERING_URL", url)
    [refusal] = startup.refusals()
    assert refusal.startswith("DEMO_NUMBERING_URL is ")


def test_a_local_stack_starts_with_the_chat_page() -> None:
    started = start(DEMO_NUMBERING_URL=URL, LOCAL_STACK="1", HOST="203.0.113.1")
    assert "cannot listen on" in started.stderr  # which comes after the look at the settings
