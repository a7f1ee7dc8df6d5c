"""The base of the admin pages of what operators may delete, one at a time."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest

from crud_service.operators.table_admin import TableAdmin


class DeletableAdmin(TableAdmin):
    """Deletes as the API does, and notes it in the history, as the admin does.

    The site has no action for many: deleting is final, and the confirmation names one.
    """

    deletable = True
    # The rows that a row belongs to, up to its application.
    parents: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read a row with its parents in one statement: between two, they could be erased."""
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*self.parents) if self.parents else rows

    def access_token_of(self, obj: Any) -> str:
        """Return the token of the application that a row belongs to."""
        raise NotImplementedError

    def is_final(self, obj: Any) -> bool:
        """Whether a row must stay as it is: it is deleted, or its application is being erased or
        imported, and has no token that a request could name.
        """
        if obj is None:
            return False
        return obj.deleted_at is not None or not self.access_token_of(obj).isalnum()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self.is_final(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self.is_final(obj) and super().has_delete_permission(request, obj)

    def get_deleted_objects(
        self, objs: "Sequence[Any] | QuerySet[Any]", request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Name what is deleted; what belongs to it is erased, and not listed row by row."""
        names = [str(each) for each in objs]
        return names, {str(self.opts.verbose_name_plural): len(names)}, set(), []
