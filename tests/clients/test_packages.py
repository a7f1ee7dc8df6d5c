"""The packages build, install without anything of the repository, and do what they promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.running_stack import RunningStack
from tests.clients.packages import (
    PYTHON,
    TYPESCRIPT,
    compiled_typescript,
    install_tarball,
    install_wheel,
    programs,
    run,
)

pytestmark = pytest.mark.timeout(400)


def run_program(folder: Path, command: list[str], program: str, stack: RunningStack) -> str:
    """Run a program of a README in a folder, with the addresses of the stack."""
    program = program.replace("http://127.0.0.1:3000", stack.crud_url)
    (folder / command[-1]).write_text(program.replace("http://127.0.0.1:8080", stack.numbering_url))
    environment = {**os.environ, "PYTHONPATH": str(folder / "site"), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_readme_of_the_python_client_works(tmp_path: Path, stack: RunningStack) -> None:
    install_wheel(tmp_path)
    assert (tmp_path / "site" / "chat_backend_client" / "py.typed").exists()
    command = [sys.executable, "-W", "error", "program.py"]
    found = programs(PYTHON / "README.md", "python")
    assert [run_program(tmp_path, command, it, stack) for it in found] == ["1 Hello!\n"] * 2


def test_the_readme_of_the_javascript_client_works(tmp_path: Path, stack: RunningStack) -> None:
    install_tarball(tmp_path)
    (program,) = programs(TYPESCRIPT / "README.md", "js")
    assert run_program(tmp_path, ["node", "program.mjs"], program, stack) == "1 Hello!\n"


MISTAKES = {
    'chat.createMessage("hi", { sender: 1 });': "not assignable to type 'string'",
    'chat.createMessage("hi", { colour: "red" });': "'colour' does not exist",
    "for await (const { body } of chat.messages()) body.trimm();": "'trimm' does not exist",
}


def test_the_types_of_the_javascript_client_find_mistakes(tmp_path: Path) -> None:
    module = compiled_typescript().with_suffix("").as_posix()
    imports = f'import type {{ ChatClient }} from "{module}.js";\ndeclare const chat: ChatClient;\n'
    (tmp_path / "program.mts").write_text(imports + "\n".join(MISTAKES) + "\nexport {};\n")
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"]
    with pytest.raises(AssertionError) as caught:
        run(TYPESCRIPT / "node_modules" / ".bin" / "tsc", *options, tmp_path / "program.mts")
    printed = str(caught.value)
    assert printed.count("error TS") == len(MISTAKES)
    assert all(mistake in printed for mistake in MISTAKES.values())
