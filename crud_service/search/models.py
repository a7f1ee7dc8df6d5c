"""What search is waiting for and what failed, as operators see it.

The feed reads and writes these tables in SQL. The models are unmanaged: migrations of `chat`
create the tables, and this app must never get a `migrations` folder. No relation is a
constraint in the database, because a row may outlive its message, and `application_id` is 0
for work that no application asked for.

`search_texts` and `search_blocks` have no model: their rows are derived text, which says
nothing about the state of search, and neither has a key of one column.
"""

from typing import Any

from django.db import models

from crud_service.chat.models import Application, Chat, Message


def refer_to(model: type[models.Model]) -> "models.ForeignKey[Any, Any]":
    """Return a reference to a row that may not exist."""
    return models.ForeignKey(model, models.DO_NOTHING, related_name="+", db_constraint=False)


class Change(models.Model):
    """A changed message that waits for a step of the feed."""

    id = models.BigAutoField(primary_key=True)
    application = refer_to(Application)
    chat = refer_to(Chat)
    message = refer_to(Message)
    number = models.BigIntegerField()
    changed_at = models.DateTimeField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"change of message {self.number}"


class UnfoldedChange(Change):
    """A change whose text is not folded yet: neither backend can find it."""

    class Meta:
        managed = False
        db_table = "search_outbox"
        verbose_name = "change waiting to be folded"
        verbose_name_plural = "changes waiting to be folded"


class UnsentChange(Change):
    """A change that PostgreSQL finds, and that Elasticsearch has not accepted yet."""

    attempts = models.SmallIntegerField()
    not_before = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "search_queue"
        verbose_name = "change waiting for Elasticsearch"
        verbose_name_plural = "changes waiting for Elasticsearch"


class Failure(models.Model):
    """A message that could not be folded, or that Elasticsearch refused, with the reason."""

    message = models.OneToOneField(
        Message, models.DO_NOTHING, related_name="+", db_constraint=False, primary_key=True
    )
    reason = models.TextField()
    failed_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "search_failures"
        verbose_name = "message that could not be indexed"
        verbose_name_plural = "messages that could not be indexed"

    def __str__(self) -> str:
        return f"message with id {self.pk}"


class ChatCoverage(models.Model):
    """How many blocks of a chat PostgreSQL's search has covered; 0 for a short chat."""

    chat = models.OneToOneField(
        Chat, models.DO_NOTHING, related_name="+", db_constraint=False, primary_key=True
    )
    blocks = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "search_chats"
        verbose_name_plural = "chat coverage"

    def __str__(self) -> str:
        return f"coverage of the chat with id {self.pk}"


class IndexState(models.Model):
    """The one row that says which Elasticsearch index has had every change."""

    id = models.BooleanField(primary_key=True)
    index_format = models.IntegerField()
    stack = models.UUIDField()
    index_name = models.TextField()
    building = models.TextField()
    fill_chat = models.BigIntegerField(null=True)
    fill_number = models.BigIntegerField(null=True)
    owns_unmarked = models.BooleanField()

    class Meta:
        managed = False
        db_table = "search_state"
        verbose_name_plural = "index state"

    def __str__(self) -> str:
        return self.index_name or "no index"
