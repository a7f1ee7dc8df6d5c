"""What a run of the benchmarks makes of a scenario that fails, and what it writes."""

from pathlib import Path

import pytest

from bench import __main__, report
from bench.results import Results
from bench.scenario import Run
from bench.sizes import QUICK


def test_a_scenario_that_fails_in_whatever_way_keeps_no_other_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unpack(_run: Run) -> None:
        _one, _two = [1]

    monkeypatch.setitem(__main__.SCENARIOS, "idle", (unpack, "fails"))
    run = Run(QUICK, tmp_path)
    __main__.attempt(run, "idle")
    (failure,) = run.results.failures
    assert failure.startswith("idle: ValueError: not enough values")
    assert "in unpack" in capsys.readouterr().err


def test_a_picture_of_an_earlier_run_does_not_stay_beside_the_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn, without = Results(), Results()
    drawn.draw("creations", "one process", [(1, 100.0), (16, 200.0)])
    report.write(drawn, "quick", tmp_path)
    assert (tmp_path / "results.png").exists()
    assert "results.png" in capsys.readouterr().out
    report.write(without, "quick", tmp_path)
    assert not (tmp_path / "results.png").exists()
    assert "results.png" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scenarios", "needed"),
    [(["idle", "pace"], False), (["idle", "reads"], True), (["live"], True), ([], True)],
)
def test_load_generators_are_asked_for_where_a_scenario_sends_a_load(
    scenarios: list[str], needed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("COMPILED", "0")
    monkeypatch.setattr(__main__, "prepare", lambda: None)  # it changes the process for good
    monkeypatch.setattr("sys.argv", ["bench", *scenarios, "--output", str(tmp_path)])
    for name in __main__.SCENARIOS:
        monkeypatch.setitem(__main__.SCENARIOS, name, (lambda _run: None, "does nothing"))
    assert __main__.main() == int(needed)
