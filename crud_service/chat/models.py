"""The tables: the stored data, the constraints on it, and what operators see."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from crud_service.chat.json_text import JsonText


class Application(models.Model):
    """A client product, known by its access token.

    `rate_limit` and `rate_burst` are null where the limit of numbering_service's settings applies
    (see `own_limits`). A deleted application has `deleted_at` and no token of its own any more,
    until its row is erased.
    """

    id = models.BigAutoField(primary_key=True)
    access_token = models.CharField(max_length=24, unique=True)
    name = models.CharField(max_length=255)
    chat_count = models.BigIntegerField(db_default=0)
    rate_limit = models.IntegerField(null=True, blank=True)
    rate_burst = models.IntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "applications"
        indexes = (
            models.Index(
                fields=("id",),
                condition=Q(rate_limit__isnull=False),
                name="applications_limited_idx",
            ),
        )

    def __str__(self) -> str:
        return self.name


class Chat(models.Model):
    """A chat of an application, numbered 1, 2, 3… in it.

    `changes` counts its own changes and those of its messages (a trigger does the latter).
    `highest_number` and `last_message_id` are those of its last message, 0 if there is none.
    `time_slack` is by how many milliseconds, at most, a message is older than one with a lower
    number, null where that is not known, and `changed_at` when `changes` grew last; triggers set
    both. `name` and `metadata` are null where they are not set.
    """

    id = models.BigAutoField(primary_key=True)
    application = models.ForeignKey(
        Application, models.PROTECT, related_name="chats", db_index=False
    )
    number = models.BigIntegerField()
    message_count = models.BigIntegerField(db_default=0)
    changes = models.BigIntegerField(db_default=0)
    highest_number = models.BigIntegerField(db_default=0)
    last_message_id = models.BigIntegerField(db_default=0)
    time_slack = models.BigIntegerField(null=True, blank=True, db_default=0)
    changed_at = models.DateTimeField(null=True, blank=True)
    name = models.CharField(max_length=255, null=True, blank=True)
    metadata = JsonText(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "chats"
        constraints = (
            models.UniqueConstraint(fields=("application", "number"), name="chats_number_key"),
            models.CheckConstraint(condition=Q(number__gte=1), name="chats_number_check"),
        )
        indexes = (
            models.Index(
                fields=("application", "changed_at"),
                condition=Q(changed_at__isnull=False),
                name="chats_changed_idx",
            ),
        )

    def __str__(self) -> str:
        return f"chat {self.number}"


class Message(models.Model):
    """A message of a chat, numbered 1, 2, 3… in it.

    `version` starts at 1 and grows by one with every change of the body; it
    orders the copies that the search index may receive out of order.
    `change` is the number of its last change among the changes of its chat, 0 if there
    was none; a trigger sets it. A message stored after one with a higher number counts
    as changed, so that clients that have read further learn of it. `sender`, `metadata` and
    `reply_to`, the number of another message, are null where they are not set. A message
    with `deleted_at` is a tombstone, whose text is gone.
    """

    id = models.BigAutoField(primary_key=True)
    chat = models.ForeignKey(Chat, models.PROTECT, related_name="messages", db_index=False)
    number = models.BigIntegerField()
    body = models.TextField()
    version = models.IntegerField(db_default=1)
    change = models.BigIntegerField(db_default=0)
    sender = models.CharField(max_length=255, null=True, blank=True)
    metadata = JsonText(null=True, blank=True)
    reply_to = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "messages"
        constraints = (
            models.UniqueConstraint(fields=("chat", "number"), name="messages_number_key"),
            models.CheckConstraint(condition=Q(number__gte=1), name="messages_number_check"),
        )
        indexes = (
            models.Index(
                fields=("chat", "change"), condition=Q(change__gt=0), name="messages_change_idx"
            ),
            models.Index(
                fields=("chat", "sender", "number"),
                condition=Q(sender__isnull=False),
                name="messages_sender_idx",
            ),
        )

    def __str__(self) -> str:
        return f"message {self.number}"


class Conflict(models.Model):
    """A creation whose number was taken by another one: kept, never dropped.

    `chat_number` is null, and `body` empty, where it was the creation of a chat. `attributes`
    are its optional fields, as in an entry of the stream.
    """

    id = models.BigAutoField(primary_key=True)
    entry_id = models.CharField(max_length=64)
    access_token = models.CharField(max_length=24)
    chat_number = models.BigIntegerField(null=True, blank=True)
    number = models.BigIntegerField()
    body = models.TextField(blank=True)
    attributes = models.TextField(blank=True, db_default="")
    accepted_at = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "conflicts"
        # An id is unique in its stream only, and all entries of a token are in one stream.
        constraints = (
            models.UniqueConstraint(
                fields=("entry_id", "access_token"), name="conflicts_entry_key"
            ),
        )
        indexes = (
            models.Index(
                fields=("access_token", "chat_number", "number"), name="conflicts_sequence_idx"
            ),
        )

    def __str__(self) -> str:
        if self.chat_number is None:
            return f"conflict over chat {self.number}"
        return f"conflict over message {self.number} of chat {self.chat_number}"


class SetAsideEntry(models.Model):
    """An entry of the stream that could not be stored, with the reason.

    `payload` holds the entry's fields as the stream had them, base64 of the
    bytes where they are not UTF-8. `chat_number` and `number` are null where
    the entry does not tell them; where it does, the number counts as taken.
    """

    id = models.BigAutoField(primary_key=True)
    entry_id = models.CharField(max_length=64)
    access_token = models.CharField(max_length=255, blank=True)
    chat_number = models.BigIntegerField(null=True, blank=True)
    number = models.BigIntegerField(null=True, blank=True)
    payload = models.JSONField()
    reason = models.TextField()
    set_aside_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "set_aside_entries"
        verbose_name_plural = "set-aside entries"
        constraints = (
            models.UniqueConstraint(
                fields=("entry_id", "access_token"), name="set_aside_entry_key"
            ),
        )
        indexes = (
            # Seeding asks for the highest number of a sequence here as well.
            models.Index("access_token", "chat_number", "number", name="set_aside_sequence_idx"),
        )

    def __str__(self) -> str:
        return f"entry {self.entry_id}"


class Deletion(models.Model):
    """A deleted chat, or without `chat_id` a deleted application, that is still being erased."""

    id = models.BigAutoField(primary_key=True)
    application_id = models.BigIntegerField()
    chat_id = models.BigIntegerField(null=True, blank=True)
    access_token = models.CharField(max_length=24)
    chat_number = models.BigIntegerField(null=True, blank=True)
    erased = models.BigIntegerField(db_default=0)
    requested_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "deletions"

    def __str__(self) -> str:
        return "application" if self.chat_id is None else f"chat {self.chat_number}"


class DeletedApplication(models.Model):
    """The SHA-256 of the token of a deleted application, kept without limit.

    `application_id` is its place in the list of applications for clients that page through it; null
    if it was deleted by an earlier version.
    """

    digest = models.BinaryField(primary_key=True)
    application_id = models.BigIntegerField(null=True, blank=True)
    deleted_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "deleted_applications"

    def __str__(self) -> str:
        return self.digest.hex()


class Rotation(models.Model):
    """A change of an application's access token; the newest of each application are kept.

    Entries accepted under the former token are stored into the same application, also when they
    were set aside and are requeued later. The answer is repeated for the same idempotency key.
    `fence` is the last entry of the stream that may have the former token, once that is refused;
    `finished` says that all up to it have been stored.
    """

    id = models.BigAutoField(primary_key=True)
    application_id = models.BigIntegerField(db_index=True)
    former_token = models.CharField(max_length=24, unique=True)
    idempotency_key = models.CharField(max_length=255)
    answer = models.TextField()
    fence = models.CharField(max_length=64, db_default="")
    finished = models.BooleanField(db_default=False)
    rotated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "rotations"
        indexes = (
            models.Index(
                fields=("id",), condition=Q(finished=False), name="rotations_unfinished_idx"
            ),
        )

    def __str__(self) -> str:
        return f"rotation {self.id}"
