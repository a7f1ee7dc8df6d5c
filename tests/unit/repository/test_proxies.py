"""The proxies that come with the services wait for their longest response."""

import re

import pytest

from crud_service.api.lists.list_request import MAX_WAIT_SECONDS
from local_stack.applications import ROOT

TIMEOUT = re.compile(r'proxy[-_]read[-_]timeout:? "?(\d+)s?[";]')
# For the response to be made and sent once the wait is over, on a busy machine.
MARGIN_SECONDS = 10


@pytest.mark.parametrize(
    "path",
    [
        *("ops/nginx.conf", "ops/cluster/nginx.conf", "ops/kubernetes/example/ingress.yaml"),
        "local_stack/cluster/proxy.py",
    ],
)
def test_a_proxy_waits_longer_than_a_list(path: str) -> None:
    timeouts = TIMEOUT.findall((ROOT / path).read_text())
    assert len(timeouts) == 1
    assert int(timeouts[0]) >= MAX_WAIT_SECONDS + MARGIN_SECONDS
