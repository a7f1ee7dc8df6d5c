"""Search: the feed of changes, the folded texts, and the way to Elasticsearch.

Everything here is derived from `messages` and can be rebuilt from it.

search_outbox    what changed and is not folded yet, in the transaction of the change
search_texts     each message's folded and marked text; the indexer writes it
search_chats     how far a chat is covered by blocks
search_blocks    for long chats: which 64 messages hold which grams
search_queue     what is folded and not in Elasticsearch yet, if there is one
search_failures  documents that Elasticsearch refused, with its reason
search_state     one row: of which format the index is that has had every change, 0 for none
"""

from django.db import migrations

# Queues live on deletes. By its defaults vacuum would come after a fifth of a
# table, but a queue has no size to take a fifth of.
QUEUE = """(
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000000
)"""

CREATE = """
CREATE TABLE search_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id bigint NOT NULL,
    chat_id bigint NOT NULL,
    number bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
) WITH (queue);

CREATE TABLE search_queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id bigint NOT NULL,
    chat_id bigint NOT NULL,
    number bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    attempts smallint NOT NULL DEFAULT 0
) WITH (queue);

CREATE TABLE search_failures (
    message_id bigint PRIMARY KEY,
    reason text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE search_state (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    index_format integer NOT NULL
);
INSERT INTO search_state (index_format) VALUES (0);

CREATE TABLE search_texts (
    chat_id bigint NOT NULL,
    number bigint NOT NULL,
    message_id bigint NOT NULL,
    version integer NOT NULL,
    marked text COLLATE "C" NOT NULL,
    PRIMARY KEY (chat_id, number)
);

CREATE TABLE search_chats (
    chat_id bigint PRIMARY KEY,
    blocks bigint NOT NULL
);

-- A block may have several rows: one for all of it, and one for each message
-- that came or changed later. `keys` are '<chat>:<gram>', so that the index
-- never meets another chat's entries.
CREATE TABLE search_blocks (
    chat_id bigint NOT NULL,
    block bigint NOT NULL,
    keys text[] COLLATE "C" NOT NULL
);
CREATE INDEX search_blocks_block_idx ON search_blocks (chat_id, block);
CREATE INDEX search_blocks_keys_idx ON search_blocks USING gin (keys);

CREATE FUNCTION enqueue_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_outbox (message_id, chat_id, number)
    SELECT id, chat_id, number FROM changed;
    RETURN NULL;
END $$;

CREATE FUNCTION enqueue_updated_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_outbox (message_id, chat_id, number)
    SELECT changed.id, changed.chat_id, changed.number
    FROM changed JOIN replaced USING (id)
    WHERE changed.version <> replaced.version OR changed.body <> replaced.body;
    RETURN NULL;
END $$;

CREATE FUNCTION empty_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE search_outbox, search_queue, search_failures,
             search_texts, search_chats, search_blocks;
    UPDATE search_state SET index_format = 0;
    RETURN NULL;
END $$;

CREATE TRIGGER messages_inserted AFTER INSERT ON messages
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION enqueue_messages();
CREATE TRIGGER messages_updated AFTER UPDATE ON messages
    REFERENCING NEW TABLE AS changed OLD TABLE AS replaced
    FOR EACH STATEMENT EXECUTE FUNCTION enqueue_updated_messages();
CREATE TRIGGER messages_deleted AFTER DELETE ON messages
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION enqueue_messages();
CREATE TRIGGER messages_truncated AFTER TRUNCATE ON messages
    FOR EACH STATEMENT EXECUTE FUNCTION empty_search();

INSERT INTO search_outbox (message_id, chat_id, number)
SELECT id, chat_id, number FROM messages ORDER BY chat_id, number;
""".replace("(queue)", QUEUE)

DROP = """
DROP TRIGGER messages_inserted ON messages;
DROP TRIGGER messages_updated ON messages;
DROP TRIGGER messages_deleted ON messages;
DROP TRIGGER messages_truncated ON messages;
DROP FUNCTION enqueue_messages();
DROP FUNCTION enqueue_updated_messages();
DROP FUNCTION empty_search();
DROP TABLE search_outbox, search_queue, search_failures, search_state,
           search_texts, search_chats, search_blocks;
"""


class Migration(migrations.Migration):
    dependencies = (("chat", "0002_application_total"),)
    operations = (migrations.RunSQL(CREATE, DROP),)
