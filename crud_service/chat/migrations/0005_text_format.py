"""How far the stored texts are folded by the rules of this version.

`done_format` is the format of all texts. While it is not the code's own, the
indexer walks through `search_texts` in the order of its key, folding by `format`;
everything up to (`chat_id`, `number`) is done. One row: the texts themselves are
not rewritten to find out. In a new database the walk has nothing to do.
"""

from django.db import migrations

CREATE = """
CREATE TABLE search_refold (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    done_format integer NOT NULL,
    format integer NOT NULL DEFAULT 0,
    chat_id bigint NOT NULL DEFAULT 0,
    number bigint NOT NULL DEFAULT 0
);
INSERT INTO search_refold (done_format) VALUES (1);
"""


class Migration(migrations.Migration):
    dependencies = (("chat", "0004_words_of_three"),)
    operations = (migrations.RunSQL(CREATE, "DROP TABLE search_refold"),)
