"""A stack as the documents for clients describe it.

described   a `RunningStack` with a list of origins, whose last one is on this machine
"""

from collections.abc import Iterator

import pytest

from bench.running_stack import RunningStack
from local_stack.ports import choose_port
from tests.conftest import SESSION

# What docs/clients.md says that the stack was started with.
SETTINGS = {"CORS_ORIGINS": "https://chat.example.com", "RATE_LIMIT": "1000"}


@pytest.fixture(scope="session")
def described() -> Iterator[RunningStack]:
    """No answer in the documents, and to no script of another origin, depends on Elasticsearch."""
    origins = f"{SETTINGS['CORS_ORIGINS']}, http://localhost:{choose_port()}"
    environment = {**SETTINGS, "CORS_ORIGINS": origins, "WITHOUT_ELASTICSEARCH": "1"}
    with RunningStack(SESSION / "described", environment=environment) as running:
        yield running
