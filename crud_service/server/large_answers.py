"""Middleware that sends a large answer in slices, and bounds how many are in memory."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from crud_service.api.lists.long_lists import LARGE_ANSWERS, LARGE_BYTES, LongAnswer, sliced
from crud_service.api.responses import problem_response
from crud_service.server.pools import owner_of
from web.problems import Overloaded

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class LargeAnswers:
    """Turns a response above LARGE_BYTES into a streamed one; 503 above the limit of those."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not isinstance(response, HttpResponse) or len(response.content) <= LARGE_BYTES:
            return response
        whole = response.content
        try:
            answer = LongAnswer(LARGE_ANSWERS, owner_of(request.path), sliced(whole))
        except Overloaded as problem:
            return problem_response(problem, request)
        headers = {**response.headers, "Content-Length": str(len(whole))}
        return StreamingHttpResponse(answer, status=response.status_code, headers=headers)
