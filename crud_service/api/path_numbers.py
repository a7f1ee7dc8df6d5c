"""Numbers in a path, parsed and checked before the view runs."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from contract.paths import parse_number
from crud_service.api.responses import not_found

View = Callable[..., HttpResponseBase]


def numbers_checked(view: View) -> View:
    """Wrap a view so that it gets integers; a number above 2^63-1 is answered 404."""

    def checked(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        for name, text in kwargs.items():
            if name.endswith("number") and text is not None:
                kwargs[name] = parse_number(text)
                if kwargs[name] is None:
                    return not_found(request)
        return view(request, **kwargs)

    return checked
