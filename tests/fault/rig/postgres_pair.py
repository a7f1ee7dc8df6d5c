"""A primary of PostgreSQL whose commits wait for a standby, set up and replaced as the guide says.

Services know the primary by an address that moves, a link, so that it can be lost and replaced.
"""

import os
import subprocess
from itertools import count
from pathlib import Path

from local_stack.stores.postgres import create_database, database_url, program
from tests.fault.rig.linked_stack import with_port
from tests.guide import commands
from tests.links import Links
from tests.polling import wait_until
from tests.standby import Server

WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = %s
"""
FOLLOWED = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
SECONDS = 60


class PostgresPair:
    """The primary, and its standby unless that has just become the primary."""

    def __init__(self, directory: Path, links: Links) -> None:
        self._directory = directory
        self._names = count(1)
        self.primary = self._server()
        self.standby: Server | None = None
        self.address = links.add(lambda: self.primary.port)
        self.url = with_port(self.primary.url, self.address.port)

    def _server(self) -> Server:
        name = f"server-{next(self._names)}"
        return Server(self._directory / name, database_url("password", 1, "chat"))

    def start(self) -> None:
        """Start the primary, with an empty database."""
        self.primary.start()
        create_database(self.primary.url)

    def end(self) -> None:
        for server in (self.primary, self.standby):
            if server is not None and server.running is not None:
                server.kill()

    def follow_guide(self, heading: str, standby: Server) -> None:
        """Run the commands below a heading of the guide."""
        own = {"DATABASE_URL": self.url, "STANDBY_URL": standby.url}
        path = f"{program('pg_basebackup').parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands(heading)],
            cwd=self._directory,
            env={**os.environ, **own, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (heading, done.stdout, done.stderr)

    def set_up_standby(self) -> None:
        """Give the primary a standby, for which its commits wait."""
        standby = self._server()
        self.follow_guide("Set up a standby", standby)
        standby.take(self._directory / "standby")
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

    def wait_for_held_commit(self, part: str) -> None:
        """Wait until a commit of a part waits for the standby: `worker` stores what was accepted.

        Others commit too, at any moment: the indexer, the API.
        """
        wait_until(lambda: self.primary.execute(WAITING, part) > [(0,)], SECONDS, self.primary.log)
