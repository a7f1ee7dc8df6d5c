"""Our services on a PostgreSQL whose commits wait for a standby, which replaces a lost primary."""

import random
import time
from pathlib import Path

from local_stack.applications import migrate
from local_stack.layout import Layout
from tests.fault.rig.postgres_pair import PostgresPair
from tests.fault.rig.process_stack import ValkeyStack
from tests.links import Links


class StandbyStack(ValkeyStack):
    """numbering, crud, a worker and Valkey; a primary of PostgreSQL and its standby."""

    def __init__(self, directory: Path, links: Links):
        super().__init__(directory, "")
        self.postgres = PostgresPair(directory, links)
        self.environment["DATABASE_URL"] = self.postgres.url

    def start_stores(self) -> None:
        super().start_stores()
        self.postgres.start()
        migrate(Layout(self.directory / "server-1"), self.environment)
        self.postgres.set_up_standby()

    def end_stores(self) -> None:
        super().end_stores()
        self.postgres.end()

    def lose_primary(self, chance: random.Random) -> None:
        """kill -9 the primary, and sometimes a worker with it; replace it."""
        self.postgres.primary.kill()
        if chance.random() < 0.5:
            self.kill_part("crud_service.worker")
        time.sleep(chance.uniform(0, 0.5))
        self.postgres.replace_primary()
        time.sleep(chance.uniform(0, 0.5))
        self.postgres.set_up_standby()
