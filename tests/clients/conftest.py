"""Fixtures of the client packages. Each test runs with every client:

`caller` calls the real stack, `scripted` is a server with a script, which `caller_of_scripted` and
`impatient` call.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.clients.callers import CALLERS, Addresses, Caller
from tests.clients.scripted_server import ScriptedServer, scripted_server

# A stack that was killed is back within seconds, even on a busy machine.
RETRY_SECONDS = 60.0
# What is waited for in vain ends after these: enough for three attempts on a busy machine.
IMPATIENT_RETRY_SECONDS = 4.0


@contextmanager
def new_caller(kind: str, stack: RunningStack) -> Iterator[Caller]:
    addresses = Addresses(stack.crud_url, stack.numbering_url)
    with closing(CALLERS[kind](addresses, RETRY_SECONDS)) as calling:
        yield calling


@pytest.fixture(scope="module", params=CALLERS)
def caller(request: pytest.FixtureRequest, stack: RunningStack) -> Iterator[Caller]:
    with new_caller(request.param, stack) as calling:
        yield calling


@pytest.fixture
def token(api: Api) -> str:
    """The access token of a new application."""
    return api.application().rpartition("/")[2]


@pytest.fixture
def chat(api: Api, token: str) -> tuple[str, int]:
    """A new chat."""
    return token, int(api.chat(f"/applications/{token}").rpartition("/")[2])


@pytest.fixture(scope="module")
def module_server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def scripted(module_server: ScriptedServer) -> ScriptedServer:
    module_server.script, module_server.received = [], []
    return module_server


@contextmanager
def new_caller_of(server: ScriptedServer, kind: str, retry_seconds: float) -> Iterator[Caller]:
    with closing(CALLERS[kind](Addresses(server.url, server.url), retry_seconds)) as calling:
        yield calling


@pytest.fixture(scope="module", params=CALLERS)
def caller_of_scripted(
    request: pytest.FixtureRequest, module_server: ScriptedServer
) -> Iterator[Caller]:
    """A client of a scripted server that repeats requests."""
    with new_caller_of(module_server, request.param, RETRY_SECONDS) as calling:
        yield calling


@pytest.fixture(scope="module", params=CALLERS)
def impatient(request: pytest.FixtureRequest, module_server: ScriptedServer) -> Iterator[Caller]:
    """The same, which gives up soon."""
    with new_caller_of(module_server, request.param, IMPATIENT_RETRY_SECONDS) as calling:
        yield calling
