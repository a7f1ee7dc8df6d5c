"""The health of Redis as one dependency, where each of its shards was checked by itself.

A shard whose server is unavailable holds up no other. So as long as one answers, an instance has to
stay in its load balancer: without any instance all shards would be unavailable.
"""

from collections.abc import Sequence
from typing import Any


def of_all_shards(checks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one result for the checks of all shards, in order.

    It is `degraded`, and names the shards that are `unavailable`, if others are not.
    """
    failed = [number for number, found in enumerate(checks) if found["status"] != "ok"]
    if not failed:
        return max(checks, key=lambda found: found["latency_ms"])
    first = checks[failed[0]]
    if len(failed) == len(checks):
        return first
    return {**first, "status": "degraded", "unavailable_shards": failed}
