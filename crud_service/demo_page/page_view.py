"""`/demo`: a chat page for a local stack, which uses the public API alone.

Its scripts are in `static/demo/`, as plain modules that need no build step. All of its state is in
the fragment of its address, so the page itself is the same for everybody.
"""

from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from rest_framework.request import Request

from crud_service.api.api_view import ApiView


class DemoPageView(ApiView):
    def get(self, request: Request) -> HttpResponse:
        page = render_to_string("demo.html", {"numbering_url": settings.DEMO_NUMBERING_URL})
        return HttpResponse(page, headers={"Content-Security-Policy": policy()})


class ToDemoPageView(ApiView):
    """`/`"""

    def get(self, request: Request) -> HttpResponse:
        return HttpResponseRedirect("/demo")


def policy() -> str:
    """Return the page's Content-Security-Policy.

    Trusted Types without any policy make a browser refuse every `innerHTML`: what users wrote can
    only become text.
    """
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self' {settings.DEMO_NUMBERING_URL}; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
