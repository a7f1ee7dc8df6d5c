"""Our services on a PostgreSQL whose commits wait for a standby, set up as the guide says.

The services know the primary by an address that moves, a link, so that it can be lost and replaced.
"""

import os
import random
import subprocess
import time
from itertools import count
from pathlib import Path

from local_stack.applications import migrate
from local_stack.layout import Layout
from local_stack.stores.postgres import create_database, database_url, program
from tests.fault.rig.linked_stack import with_port
from tests.fault.rig.process_stack import ValkeyStack
from tests.guide import commands
from tests.links import Links
from tests.polling import wait_until
from tests.standby import Server

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
FOLLOWED = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
SECONDS = 60


class StandbyStack(ValkeyStack):
    """numbering, crud, a worker and Valkey; a primary of PostgreSQL and its standby."""

    def __init__(self, directory: Path, links: Links):
        super().__init__(directory, "")
        self._names = count(1)
        self.primary = self._server()
        self.standby: Server | None = None
        self.address = links.add(lambda: self.primary.port)
        self.environment["DATABASE_URL"] = with_port(self.primary.url, self.address.port)

    def _server(self) -> Server:
        name = f"server-{next(self._names)}"
        return Server(self.directory / name, database_url("password", 1, "chat"))

    def start_stores(self) -> None:
        super().start_stores()
        self.primary.start()
        create_database(self.primary.url)
        migrate(Layout(self.directory / "server-1"), self.environment)
        self.set_up_standby()

    def end_stores(self) -> None:
        super().end_stores()
        for server in (self.primary, self.standby):
            if server is not None and server.running is not None:
                server.kill()

    def follow_guide(self, heading: str, standby: Server) -> None:
        """Run the commands below a heading of the guide."""
        own = {"STANDBY_URL": standby.url}
        path = f"{program('pg_basebackup').parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands(heading)],
            cwd=self.directory,
            env={**os.environ, **self.environment, **own, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (heading, done.stdout, done.stderr)

    def set_up_standby(self) -> None:
        """Give the primary a standby, for which its commits wait."""
        standby = self._server()
        self.follow_guide("Set up a standby", standby)
        standby.take(self.directory / "standby")
        standby.start()
        self.standby = standby
        self.follow_guide("Have commits wait for the standby", standby)
        wait_until(lambda: self.primary.execute(FOLLOWED) == [(1,)], SECONDS, standby.log)

    def replace_primary(self) -> None:
        """What an operator does: the standby becomes the primary, and the address moves there."""
        standby = self.standby
        assert standby is not None
        self.follow_guide("Promote the standby", standby)
        self.primary, self.standby = standby, None

    def lose_primary(self, chance: random.Random) -> None:
        """kill -9 the primary, and sometimes a worker with it; replace it."""
        self.primary.kill()
        if chance.random() < 0.5:
            self.kill_part("crud_service.worker")
        time.sleep(chance.uniform(0, 0.5))
        self.replace_primary()
        time.sleep(chance.uniform(0, 0.5))
        self.set_up_standby()

    def wait_for_held_commit(self) -> None:
        """Wait until a commit waits for the standby."""
        wait_until(lambda: self.primary.execute(WAITING) > [(0,)], SECONDS, self.output)
