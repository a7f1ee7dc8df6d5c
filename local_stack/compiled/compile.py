"""Compiles modules with mypyc: `python compile.py DIRECTORY`.

The directory has copies of the packages; the sources of the modules are replaced by their
extension modules. Run as a file, by a Python that has mypy.
"""

import os
import shutil
import sys
from pathlib import Path

from mypyc.build import mypycify
from setuptools import setup

# What a creation or a GET passes through, and what that imports all the time. The rest gains
# nothing, or is what mypyc can't compile: `web.problems` (two class attributes in one assignment).
# And `web.server.limits` is sent to further processes: compiled dataclasses can't be unpickled.
MODULES = (
    "contract/entries.py",
    "contract/keys.py",
    "contract/paths.py",
    "contract/shards.py",
    # Its class has a compiled base, which no interpreted class may have.
    "crud_service/monitoring/request_log.py",
    "crud_service/reads/fast_reads.py",
    "crud_service/reads/gathered_reads.py",
    # Like that of the request log.
    "numbering_service/api/asgi_request.py",
    "numbering_service/connections/script_connection.py",
    "numbering_service/creation.py",
    "numbering_service/creations/access_log.py",
    "numbering_service/creations/attributes.py",
    "numbering_service/creations/batching.py",
    "numbering_service/creations/creating.py",
    "numbering_service/creations/held_back.py",
    "numbering_service/creations/numbers.py",
    "numbering_service/creations/outcomes.py",
    "numbering_service/creations/pending.py",
    "numbering_service/creations/requests.py",
    "numbering_service/creations/sending.py",
    "numbering_service/creations/shard_queue.py",
    "numbering_service/creations/sharded.py",
    "numbering_service/creations/shares.py",
    "numbering_service/creations/window.py",
    "web/batched_request_log.py",
    "web/characters.py",
    "web/cors.py",
    "web/fair_queue.py",
    "web/fields.py",
    "web/media_types.py",
    "web/request_id.py",
    "web/server/answers.py",
    "web/server/arrival.py",
    "web/server/body.py",
    "web/server/budget.py",
    "web/server/deadline.py",
    "web/server/front.py",
    "web/server/head.py",
    "web/server/protocol.py",
    "web/server/reader_watch.py",
    "web/server/request.py",
    "web/server/turns.py",
    "web/server/writer.py",
)
CHECKED = (
    "--config-file=",
    f"--cache-dir={os.devnull}",
    "--strict",
    "--explicit-package-bases",
    # Only the modules themselves: `make lint` checks everything. The images are compiled without
    # Django, whose types are not needed.
    "--follow-imports=silent",
    "--ignore-missing-imports",
    "--no-warn-unused-ignores",
)
# Of what the compiler writes on the way.
TEMPORARY = "build"


def main() -> None:
    """Compile in a directory, and leave nothing behind but the extension modules."""
    os.chdir(sys.argv[1])
    # An image has the packages of one service.
    modules = [module for module in MODULES if Path(Path(module).parts[0]).exists()]
    # One group: calls between its modules are calls of C functions.
    extensions = mypycify(
        [*CHECKED, *modules],
        opt_level="3",
        debug_level="0",
        group_name="requests",
        target_dir=TEMPORARY,
    )
    for extension in extensions:
        # Then functions of a group call each other without looking each other up.
        extension.extra_compile_args.append("-fvisibility=hidden")
        # gcc takes longer to look for wrong indentation in generated C than for all the rest.
        extension.extra_compile_args.append("-Wno-misleading-indentation")
    setup(
        name="requests",
        packages=[],
        ext_modules=extensions,
        script_args=["--quiet", "build_ext", "--inplace", f"--build-temp={TEMPORARY}"],
    )
    shutil.rmtree(TEMPORARY)
    # Nothing falls back to them in silence.
    for module in modules:
        Path(module).unlink()


if __name__ == "__main__":
    main()
