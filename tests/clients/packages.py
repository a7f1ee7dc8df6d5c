"""The packages of the clients, built and installed as users have them."""

import functools
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

from local_stack.applications import ROOT
from tests.node_packages import require_node_packages, stop

PYTHON = ROOT / "clients" / "python"
TYPESCRIPT = ROOT / "clients" / "typescript"


@functools.cache
def compiled_typescript() -> Path:
    """Compile the JavaScript client unless that was done; skip or fail without Node.js."""
    require_node_packages(TYPESCRIPT)
    sources = [*sorted((TYPESCRIPT / "src").glob("*.ts")), TYPESCRIPT / "tsconfig.json"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = TYPESCRIPT / "node_modules" / ".compiled"
    if not stamp.exists() or stamp.read_text() != digest:
        run("npm", "run", "--silent", "build", folder=TYPESCRIPT)
        stamp.write_text(digest)
    return TYPESCRIPT / "dist" / "index.js"


def install_wheel(folder: Path) -> None:
    """Build a wheel and unpack it into a folder; skip or fail where no build backend is had."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, PYTHON],
        capture_output=True,
        text=True,
        check=False,
    )
    if "No matching distribution" in built.stderr or "HTTPSConnectionPool" in built.stderr:
        stop(f"NO BUILD BACKEND: {built.stderr.strip()[-300:]}")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", "--quiet", "--no-deps", "--target", folder / "site", wheel)


def install_tarball(folder: Path) -> None:
    """Pack the JavaScript client and install it into a new project."""
    compiled_typescript()
    (packed,) = json.loads(run("npm", "pack", "--json", "--pack-destination", folder,
                               "--ignore-scripts", folder=TYPESCRIPT))  # fmt: skip
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    run("npm", "install", "--offline", "--no-audit", folder / packed["filename"], folder=folder)


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """Return what a command prints; fails if the command does."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def programs(readme: Path, language: str) -> list[str]:
    """Return the code blocks of a page that are whole programs: those with imports."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)
    return [block for block in blocks if re.match("import|from", block)]
