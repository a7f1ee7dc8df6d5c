"""What each process imports at its start, which is most of what a start costs."""

import os
import subprocess
import sys

from local_stack.applications import ROOT

SERVICE = "import crud_service.wsgi"
WORKER = "from crud_service.worker.child import prepare; prepare()"
PRINT = "; import sys; print(*sys.modules)"


def imported(program: str, elasticsearch: str = "") -> set[str]:
    """Return the modules that a process has imported once it has started."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "crud_service.settings",
        "REDIS_URL": "redis://127.0.0.1:9",
        "ELASTICSEARCH_URL": elasticsearch,
    }
    done = subprocess.run(
        [sys.executable, "-c", program + PRINT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_a_service_without_elasticsearch_does_not_import_its_client() -> None:
    assert "elasticsearch" not in imported(SERVICE)


def test_a_worker_imports_neither_that_client_nor_the_http_service() -> None:
    modules = {"elasticsearch", "crud_service.urls", "crud_service.operators.admin"}
    assert not imported(WORKER) & modules


def test_a_search_or_a_new_child_does_not_wait_for_the_import_of_the_client() -> None:
    url = "http://127.0.0.1:9"
    assert "crud_service.search.query.query_elasticsearch" in imported(SERVICE, url)
    assert "crud_service.search.feed.attempts" in imported(WORKER, url)
