"""Ends of numbering_service; replacing several processes one by one on SIGHUP is uvicorn's part."""

import signal
from pathlib import Path

from tests.integration.numbering.surroundings import Numbering


def test_sighup_stops_a_single_process_gracefully(redis_url: str, tmp_path: Path) -> None:
    with Numbering(tmp_path, redis_url, "http://127.0.0.1:1") as numbering:
        assert numbering.end(signal.SIGHUP) == 0
        assert "Finished server process" in str(numbering.lines()[-1]["message"])


def test_several_processes_leave_none_of_the_metrics_that_they_shared(
    redis_url: str, tmp_path: Path
) -> None:
    settings = {"NUMBERING_PROCESSES": "2", "TMPDIR": str(tmp_path)}
    with Numbering(tmp_path, redis_url, "http://127.0.0.1:1", **settings) as numbering:
        assert len(list(tmp_path.glob("numbering-metrics-*"))) == 1
        assert numbering.end() == 0
    assert list(tmp_path.glob("numbering-metrics-*")) == []
