"""SIGHUP to numbering_service; replacing several processes one by one is uvicorn's part."""

import signal
from pathlib import Path

from tests.integration.numbering.surroundings import Numbering


def test_sighup_stops_a_single_process_gracefully(redis_url: str, tmp_path: Path) -> None:
    with Numbering(tmp_path, redis_url, "http://127.0.0.1:1") as numbering:
        assert numbering.end(signal.SIGHUP) == 0
        assert "Finished server process" in str(numbering.lines()[-1]["message"])
