"""Servers of Valkey that form a cluster, whatever an earlier start has left."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from contract.shards import SLOTS
from local_stack.ports import choose_port
from local_stack.stores.valkey_cluster import (
    Node,
    command,
    form_cluster,
    have_met,
    members,
    myself,
    node_settings,
)
from tests.integration.numbering.surroundings import Valkey
from tests.polling import wait_until

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


def test_a_server_that_did_not_answer_the_handshake_is_met_again(servers: list[Valkey]) -> None:
    first, second, lost = servers
    nodes, clients = nodes_of(servers), [it.client for it in servers]
    command(first.client, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
    lost.kill()
    assert not have_met(clients, nodes)
    wait_until(lambda: ports_known_to(first) == {first.port, second.port}, 60)
    lost.start()
    wait_until(lambda: have_met(clients, nodes), 60)


def ports_known_to(server: Valkey) -> set[int]:
    return {member.port for member in members(server.client)}
