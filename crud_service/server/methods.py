"""The methods that each path supports, as a browser's preflight asks for them."""

from django.urls import Resolver404, resolve


def methods_of(path: str) -> list[str]:
    """Return the methods that a path supports, none if there is no such path."""
    try:
        function = resolve(path).func
    except Resolver404:
        return []
    view = getattr(function, "view_class", None)
    if view is None:
        return []
    methods = [name.upper() for name in view.http_method_names if hasattr(view, name)]
    if "GET" in methods and "HEAD" not in methods:
        methods.append("HEAD")
    return sorted(set(methods) - {"OPTIONS"})
