"""The Elasticsearch document of a message, and the Elasticsearch query for a part of a keyword.

Terms are cut from the marked text with its edges spelled `E`, which is safe: a
folded text has no capital letters. `hello` becomes `Ehe hel ell llo loE oE E`;
the short grams at the end of a run keep grams of different runs from being consecutive.
"""

import hashlib

import orjson
from elasticsearch.dsl import Q
from elasticsearch.dsl.query import Query

from crud_service.search.text.folding import EDGE, RUN_SEPARATOR
from crud_service.search.text.texts import Text

ES_EDGE = "E"


def make_document(text: Text) -> bytes:
    """Return the JSON of a document of Elasticsearch, with the terms that find its message."""
    marked = text.marked.replace(EDGE, ES_EDGE)
    runs = marked.split(RUN_SEPARATOR)
    grams = [run[i : i + 3] for run in runs for i in range(len(run))]
    letters = {gram[:2] for gram in grams}
    letters.update(marked)
    letters.discard(RUN_SEPARATOR)
    more = {"sender": text.sender, "created_at": text.created_ms}
    return orjson.dumps(
        {
            "chat": str(text.chat_id),
            "chat_id": text.chat_id,
            "number": text.number,
            "message_id": text.message_id,
            "version": text.version,
            "digest": digest(text.marked),
            "grams": " ".join(grams),
            "letters": " ".join(letters),
            **{name: value for name, value in more.items() if value is not None},
        }
    )


def digest(marked: str) -> str:
    """Return a digest of a marked text, by which a check sees that a document is outdated."""
    return hashlib.blake2b(marked.encode(), digest_size=12).hexdigest()


def form_query(form: str) -> Query:
    """Return the query for a part's form: a term, or consecutive grams."""
    text = form.replace(EDGE, ES_EDGE)
    if len(text) <= 2:
        return Q("term", letters=text)
    if len(text) == 3:
        return Q("term", grams=text)
    grams = [text[i : i + 3] for i in range(len(text) - 2)]
    return Q("match_phrase", grams=" ".join(grams))
