"""The gateway with which the benchmark compares creations."""

from pathlib import Path

import pytest

from bench import gateway
from bench.results import Results
from bench.scenario import Run
from bench.sizes import QUICK
from bench.tools import Load


def load_of(rate: int, p99_ms: float) -> Load:
    return Load(
        requests=rate, seconds=1, p50_ms=1, p99_ms=p99_ms, slowest_ms=9, refused=0, broken=0
    )


def test_without_go_it_is_not_built_and_nothing_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(QUICK, tmp_path)
    gateway.beside_the_gateway(run, None, go=["no-such-go"])
    assert capsys.readouterr().out.count("\n") == 1
    assert run.results.failures == []


def test_the_table_shows_both_and_compares_them_within_each_turn(tmp_path: Path) -> None:
    run = Run(QUICK, tmp_path, Results())
    pairs = [(load_of(200, 5), load_of(100, 6)), (load_of(30, 50), load_of(20, 60))]
    gateway.report(run, 64, pairs, 300)
    figures = {figure.name: figure for figure in run.results.figures}
    assert figures["turns, 64 clients: times the gateway"].value == 1.75
    assert figures["turns, 64 clients: times the gateway"].verdict == "MISSED"
    assert figures["turns, 64 clients: our p99"].bound == "<= 33"
    assert figures["turns, 64 clients: the gateway's rate"].value == 60
    assert figures["turns, 64 clients: share of the yardstick"].verdict == "ok"
