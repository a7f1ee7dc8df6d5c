"""Migrations can be undone, each of them: `migrate chat 0022_indexes_of_chats`."""

import pkgutil
import re
from collections.abc import Iterator

import psycopg
import pytest

from crud_service.chat import migrations as chat_migrations
from local_stack.stack import Stores
from tests.integration.crud.migrator import Migrator

VERSIONS = sorted(module.name for module in pkgutil.iter_modules(chat_migrations.__path__))

# Without the order of columns: one that comes back is the last.
SCHEMA = """
WITH ours AS (
    SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE nspname = 'public' AND relname NOT LIKE 'django_migrations%'
)
SELECT concat_ws(' ', 'relation', relkind, relname, reloptions) FROM ours
UNION ALL SELECT concat_ws(' ', 'column', attrelid::regclass, attname,
    format_type(atttypid, atttypmod), attnotnull, attstorage, attcompression, attstattarget,
    attoptions, attidentity, attgenerated, pg_get_expr(adbin, adrelid))
FROM pg_attribute a JOIN ours ON ours.oid = attrelid
    LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped AND relkind <> 'i'
UNION ALL SELECT concat_ws(' ', 'index', indisvalid, pg_get_indexdef(indexrelid))
FROM pg_index JOIN ours ON ours.oid = indexrelid
UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, convalidated,
    pg_get_constraintdef(c.oid))
FROM pg_constraint c JOIN ours ON ours.oid = conrelid
UNION ALL SELECT concat_ws(' ', 'trigger', tgenabled, pg_get_triggerdef(t.oid))
FROM pg_trigger t JOIN ours ON ours.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT concat_ws(' ', 'function', pg_get_functiondef(p.oid))
FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
UNION ALL SELECT concat_ws(' ', 'extension', extname) FROM pg_extension
"""
# The end of a constraint's name: PostgreSQL names it with a table, Django in a later change.
GENERATED = re.compile(r"_(?:key|[0-9a-f]{8}_uniq)\b")


@pytest.fixture(scope="module")
def migrator(stores: Stores) -> Iterator[Migrator]:
    with Migrator(stores) as running:
        yield running


def schema(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {GENERATED.sub("", text) for (text,) in connection.execute(SCHEMA)}


def test_each_migration_can_be_undone_and_done_again(migrator: Migrator, database_url: str) -> None:
    versions = ["zero", *VERSIONS]
    expected = {}
    for version in versions:
        migrator.migrate(database_url, version)
        expected[version] = schema(database_url)
    assert any(text.startswith("trigger") for text in expected[VERSIONS[-1]])
    wrong = {}
    for version in reversed(versions):
        migrator.migrate(database_url, version)
        if differing := schema(database_url) ^ expected[version]:
            wrong[version] = differing
    migrator.migrate(database_url, VERSIONS[-1])
    assert wrong == {}
    assert schema(database_url) == expected[VERSIONS[-1]]
