"""Which environment variables the services read, and which of them a container is given."""

import os
import subprocess
import sys
from functools import cache

from local_stack.applications import ROOT

SETTINGS = {"crud": "crud_service.settings", "numbering": "numbering_service.settings"}
# The chat page is for `make run` alone.
LOCAL_ONLY = {"DEMO_NUMBERING_URL"}
# Given by the Dockerfiles: the same in every container.
IN_IMAGE = {"CONTAINER", "HOST", "CRUD_PORT", "NUMBERING_PORT"}

# Imports settings with an environment that notes every name it is asked for.
RECORDER = """
import os, sys
asked = set()
OURS = {"crud_service", "numbering_service", "local_stack", "contract"}
class Recorder(dict):
    def get(self, name, default=None):
        if sys._getframe(1).f_globals["__name__"].partition(".")[0] in OURS:
            asked.add(name)
        return super().get(name, default)
os.environ = Recorder(os.environ)
module = __import__(sys.argv[1], fromlist=["*"])
if hasattr(module, "Settings"):
    read = getattr(module.Settings, 'from_env', None) or module.Settings.from_environment
    read(os.environ)
print(*sorted(asked))
"""


@cache
def read_by(module: str) -> set[str]:
    """The environment variables that a module of settings reads."""
    command = [sys.executable, "-c", RECORDER, module]
    environment = {"PATH": os.environ["PATH"], "LOCAL_STACK": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())
