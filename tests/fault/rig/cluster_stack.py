"""Our services with three shards on a cluster of Valkey, and a broker beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fault.rig.process_stack import ProcessStack
from tests.fault.rig.valkey_cluster import ValkeyCluster
from tests.integration.numbering.surroundings import Valkey


class ClusterStack(ProcessStack):
    """Our services on a cluster; where it has replicas that can acknowledge, they have to."""

    def __init__(
        self, directory: Path, database_url: str, cluster: ValkeyCluster, **environment: str
    ) -> None:
        super().__init__(directory, database_url, SHARDS="3", **environment)
        self.cluster = cluster
        (directory / "broker").mkdir()
        self.broker = Valkey(directory / "broker")
        self.environment["REDIS_URL"] = cluster.url
        self.environment["BROKER_URL"] = self.broker.url

    def start_stores(self) -> None:
        self.broker.start()
        self.cluster.start()
        if self.cluster.acknowledges:
            self.environment["REPLICAS_TO_ACKNOWLEDGE"] = "1"

    def end_stores(self) -> None:
        self.broker.__exit__()
        self.cluster.end()


@contextmanager
def clustered(
    directory: Path, database_url: str, replicas: int = 0, program: str = "", **settings: str
) -> Iterator[ClusterStack]:
    """Run the services on three primaries, and some replicas; the settings are the servers'."""
    cluster = ValkeyCluster(directory / "cluster", replicas=replicas, program=program, **settings)
    with ClusterStack(directory, database_url, cluster, NUMBERING_PROCESSES="2") as stack:
        yield stack
