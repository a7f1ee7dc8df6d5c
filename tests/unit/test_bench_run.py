"""What a run of the benchmarks makes of a scenario that fails."""

from pathlib import Path

import pytest

from bench import __main__
from bench.scenario import Run
from bench.sizes import QUICK


def test_a_scenario_that_fails_in_whatever_way_keeps_no_other_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unpack(_run: Run) -> None:
        _one, _two = [1]

    monkeypatch.setitem(__main__.SCENARIOS, "chat_ends", (unpack, "fails"))
    run = Run(QUICK, tmp_path)
    __main__.attempt(run, "chat_ends")
    (failure,) = run.results.failures
    assert failure.startswith("chat_ends: ValueError: not enough values")
    assert "in unpack" in capsys.readouterr().err
