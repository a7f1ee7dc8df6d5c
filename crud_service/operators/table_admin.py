"""The base of the admin pages: a table of any size that can be read and searched."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest

from crud_service.operators.paging import COUNTED_AT_MOST, EstimatingPaginator, path_filters


class TableAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    ordering = ("-id",)
    list_per_page = 50
    show_full_result_count = False
    paginator = EstimatingPaginator
    search_fields: ClassVar[tuple[str, ...]] = ("access_token",)
    search_help_text = (
        "An access token, optionally with numbers: TOKEN, TOKEN 1, TOKEN 1 2. "
        f"A search shows the first {COUNTED_AT_MOST:,} rows."
    )
    path_lookups: ClassVar[tuple[str, ...]] = ("access_token",)
    editable: ClassVar[tuple[str, ...]] = ()
    deletable: ClassVar[bool] = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.deletable and super().has_delete_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self.editable) and super().has_change_permission(request, obj)

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Return whether a user may run the table's actions: one who may change its rows, also
        where no field can be edited.
        """
        return super().has_change_permission(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [f.name for f in self.opts.fields if f.name not in self.editable]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse lookups in the query string: no page links to one, and Django answers some, such
        as `created_at__year=0`, with an error of its own (500).
        """
        return False

    def get_paginator(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        paginator: Any = super().get_paginator(request, *args, **options)
        paginator.is_searched = bool(request.GET.get(SEARCH_VAR))
        return paginator

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        filters = path_filters(search_term, self.path_lookups)
        return (queryset.none() if filters is None else queryset.filter(**filters)), False
