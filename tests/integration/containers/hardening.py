"""What holds for every container, whichever compose file it is in."""

from collections.abc import Mapping
from typing import Any

# Elasticsearch and Grafana write beside their own programs.
WRITABLE = {"elasticsearch", "grafana"}


def assert_without_privileges_and_bounded(name: str, it: Mapping[str, Any]) -> None:
    assert it["cap_drop"] == ["ALL"]
    assert "cap_add" not in it
    assert it["security_opt"] == ["no-new-privileges:true"]
    assert it["pids_limit"] > 0
    assert it["mem_limit"]
    assert it["logging"]["options"].keys() == {"max-size", "max-file"}
    assert it.get("read_only") is (None if name in WRITABLE else True)
