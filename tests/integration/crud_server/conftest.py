"""Servers whose tests name them in short.

server          the one that all tests of a module share
own_server      one that the test may stop or kill, with memory and logins of its own
"""

from collections.abc import Callable

import pytest

from tests.integration.conftest import CrudServer


@pytest.fixture
def server(shared_server: CrudServer) -> CrudServer:
    return shared_server


@pytest.fixture
def own_server(crud_server: Callable[..., CrudServer]) -> CrudServer:
    return crud_server()
