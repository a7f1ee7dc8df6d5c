"""Servers of Valkey that form a cluster, whatever an earlier start has left."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from contract.shards import SLOTS
from local_stack.ports import choose_port
from local_stack.stores.valkey_cluster import Node, command, form_cluster, myself, node_settings
from tests.integration.numbering.surroundings import Valkey

NODE_TIMEOUT_MS = 1000


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Valkey]]:
    with ExitStack() as opened:
        yield [opened.enter_context(server(tmp_path / f"node{number}")) for number in range(3)]


def server(directory: Path) -> Valkey:
    directory.mkdir()
    return Valkey(directory, **node_settings(choose_port(), NODE_TIMEOUT_MS))


def nodes_of(servers: list[Valkey]) -> list[Node]:
    return [Node(it.directory.name, it.port, int(it.settings["cluster-port"])) for it in servers]


def test_slots_that_another_server_was_given_stay_there(servers: list[Valkey]) -> None:
    third = 2 * SLOTS // 3
    given = [((0, third - 1),), ((SLOTS - 1, SLOTS - 1),), ((third, SLOTS - 2),)]
    for it, ((first, last),) in zip(servers, given, strict=True):
        command(it.client, "CLUSTER", "ADDSLOTSRANGE", first, last)
    form_cluster(nodes_of(servers), 3)
    assert [myself(it.client).slots for it in servers] == given
