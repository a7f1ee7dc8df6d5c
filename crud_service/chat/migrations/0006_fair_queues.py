"""Fair queues: each waiting change carries its application, and the index has an owner.

The outbox and the queue are read application by application, so one application's
backlog delays nobody else. `application_id` 0 is for work that no application asked
for (filling a new index, repairs): it gets a share like any other.

search_queue.not_before   when a document that failed by itself may be sent again
search_state.stack        the id of this stack, which is written into every index it creates
search_state.index_name   the index that has had every change since it was created, '' for none
search_state.building     the index that a rebuild is filling, '' for none
search_state.fill_chat, fill_number   up to which text the new index's documents are queued;
                          null when no index is being filled
search_state.owns_unmarked   indexes without an owner are from before this version, and ours
"""

from django.db import migrations

CREATE = """
ALTER TABLE search_outbox ADD application_id bigint NOT NULL DEFAULT 0;
ALTER TABLE search_queue ADD application_id bigint NOT NULL DEFAULT 0,
                         ADD not_before timestamptz;
UPDATE search_outbox AS waiting SET application_id = chats.application_id
FROM chats WHERE chats.id = waiting.chat_id;
UPDATE search_queue AS waiting SET application_id = chats.application_id
FROM chats WHERE chats.id = waiting.chat_id;

CREATE INDEX search_outbox_application_idx ON search_outbox (application_id, id);
CREATE INDEX search_outbox_changed_idx ON search_outbox (changed_at);
CREATE INDEX search_queue_application_idx ON search_queue (application_id, id);
CREATE INDEX search_queue_changed_idx ON search_queue (changed_at);
-- Whether a search may ask Elasticsearch depends on the searched chat alone.
CREATE INDEX search_queue_chat_idx ON search_queue (chat_id, changed_at);

ALTER TABLE search_state
    ADD stack uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD index_name text NOT NULL DEFAULT '',
    ADD building text NOT NULL DEFAULT '',
    ADD fill_chat bigint,
    ADD fill_number bigint,
    ADD owns_unmarked boolean NOT NULL DEFAULT false;
UPDATE search_state SET owns_unmarked = index_format <> 0;

-- A chat may be deleted before its messages, in one transaction: hence the outer joins.
CREATE OR REPLACE FUNCTION enqueue_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_outbox (application_id, message_id, chat_id, number)
    SELECT coalesce(chats.application_id, 0), changed.id, changed.chat_id, changed.number
    FROM changed LEFT JOIN chats ON chats.id = changed.chat_id;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION enqueue_updated_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_outbox (application_id, message_id, chat_id, number)
    SELECT coalesce(chats.application_id, 0), changed.id, changed.chat_id, changed.number
    FROM changed JOIN replaced USING (id) LEFT JOIN chats ON chats.id = changed.chat_id
    WHERE changed.version <> replaced.version OR changed.body <> replaced.body;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION empty_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE search_outbox, search_queue, search_failures,
             search_texts, search_chats, search_blocks;
    UPDATE search_state SET index_format = 0, index_name = '', building = '',
                            fill_chat = NULL, fill_number = NULL;
    RETURN NULL;
END $$;
"""

DROP = """
CREATE OR REPLACE FUNCTION enqueue_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_outbox (message_id, chat_id, number)
    SELECT id, chat_id, number FROM changed;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION enqueue_updated_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_outbox (message_id, chat_id, number)
    SELECT changed.id, changed.chat_id, changed.number
    FROM changed JOIN replaced USING (id)
    WHERE changed.version <> replaced.version OR changed.body <> replaced.body;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION empty_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE search_outbox, search_queue, search_failures,
             search_texts, search_chats, search_blocks;
    UPDATE search_state SET index_format = 0;
    RETURN NULL;
END $$;

ALTER TABLE search_state DROP stack, DROP index_name, DROP building, DROP fill_chat,
                         DROP fill_number, DROP owns_unmarked;
UPDATE search_state SET index_format = 0;
ALTER TABLE search_outbox DROP application_id;
ALTER TABLE search_queue DROP application_id, DROP not_before;
DROP INDEX search_outbox_changed_idx, search_queue_changed_idx, search_queue_chat_idx;
"""


class Migration(migrations.Migration):
    dependencies = [("chat", "0005_text_format")]
    operations = [migrations.RunSQL(CREATE, DROP)]
