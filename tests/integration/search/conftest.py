"""Fixtures of search.

search_stores   an application to search in, on PostgreSQL alone until a test says otherwise
elasticsearch   Elasticsearch beside it, with no index
backend         "postgresql" and "elasticsearch" in turn
any_backend     `search_stores` that search by that backend
"""

from collections.abc import Iterator

import psycopg
import pytest
import redis

from tests.integration.search.search_stores import TOKEN, SearchStores


@pytest.fixture
def search_stores(
    clean_crud: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[SearchStores]:
    from django.conf import settings

    from crud_service.search.feed.attempts import back_off_of
    from crud_service.stores.circuit import circuit_of

    monkeypatch.setattr(settings, "ELASTICSEARCH_URL", "")
    circuit_of.cache_clear()
    back_off_of.cache_clear()
    with (
        psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as database,
        redis.Redis.from_url(clean_crud["REDIS_URL"], protocol=2) as client,
    ):
        database.execute(
            "INSERT INTO applications (access_token, name) VALUES (%s, 'search')", (TOKEN,)
        )
        # Tables are emptied between tests, this one row stays.
        database.execute("UPDATE search_state SET owns_unmarked = false")
        yield SearchStores(database, client)


@pytest.fixture
def elasticsearch(
    search_stores: SearchStores, elasticsearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings

    from crud_service.search.feed import start_over
    from crud_service.search.index import elasticsearch_index

    monkeypatch.setattr(settings, "ELASTICSEARCH_URL", elasticsearch_url)
    start_over.complaints.cache_clear()
    for index in elasticsearch_index.find_indices():
        elasticsearch_index.remove_index(index.name)


@pytest.fixture(params=["postgresql", "elasticsearch"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def any_backend(
    search_stores: SearchStores, backend: str, request: pytest.FixtureRequest
) -> SearchStores:
    if backend == "elasticsearch":
        request.getfixturevalue("elasticsearch")
    return search_stores
