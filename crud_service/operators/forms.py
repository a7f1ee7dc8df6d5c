"""Forms for the texts that operators may correct, validated by the rules of the API."""

from collections.abc import Callable
from typing import Any

from django import forms

from crud_service.api.etags import etag
from crud_service.chat.models import Application, Message
from crud_service.chat.reading import APPLICATION, MESSAGE
from crud_service.operators.line_ends import restore_line_ends
from crud_service.stores.database import fetch_value
from web.fields import check_message_body, check_name
from web.problems import ValidationFailed

MAX_RATE = 1_000_000
OVERTAKEN = (
    "Someone else changed this while you were editing it, so nothing was saved. "
    "Open it in another window to see the current state."
)


class CorrectionForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A form that knows the state of the row that it was rendered from."""

    state = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["state"] = etag(self.representation())

    def representation(self) -> bytes:
        """Return the row as the API represents it; empty if it does not exist.

        It is read where Django reads the fields: a replica may be ahead of the primary for a
        moment, and a change that the operator has not seen would be overwritten.
        """
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        """Refuse to overwrite a change made since the form was rendered."""
        if self.cleaned_data.get("state") != self.initial["state"]:
            raise forms.ValidationError(OVERTAKEN)
        return self.cleaned_data

    def corrected(self, field: str, check: Callable[[object], str]) -> str:
        """Return a validated text; lines that the operator did not edit keep their line ends."""
        text = restore_line_ends(self.cleaned_data[field], self.initial[field])
        try:
            return check(text)
        except ValidationFailed as problem:
            raise forms.ValidationError(problem.errors[0]["message"]) from problem


class ApplicationForm(CorrectionForm):
    # A one-line input would drop the line breaks that a name may have.
    name = forms.CharField(strip=False, widget=forms.Textarea(attrs={"rows": 2}))

    rate_limit = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_RATE,
        help_text="Creations a second. 0: any number. Empty: as configured for all applications.",
    )
    rate_burst = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_RATE,
        help_text="How many may come at once. Empty: as many as in a second.",
    )
    # The limit that the form was rendered from, which is in no representation.
    limit_state = forms.CharField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = Application
        fields = ("name", "rate_limit", "rate_burst")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["limit_state"] = f"{self.instance.rate_limit} {self.instance.rate_burst}"

    def representation(self) -> bytes:
        return fetch_value(APPLICATION, (self.instance.access_token,)) or b""

    def clean(self) -> dict[str, Any]:
        fields = super().clean()
        if fields.get("limit_state") != self.initial["limit_state"]:
            raise forms.ValidationError(OVERTAKEN)
        if fields.get("rate_burst") is not None and fields.get("rate_limit") is None:
            raise forms.ValidationError({"rate_burst": "A burst needs a rate limit."})
        return fields

    def clean_name(self) -> str:
        return self.corrected("name", check_name)


class MessageForm(CorrectionForm):
    body = forms.CharField(strip=False, widget=forms.Textarea)

    class Meta:
        model = Message
        fields = ("body",)

    def representation(self) -> bytes:
        message: Message = self.instance
        chat = message.chat
        path = (chat.application.access_token, str(chat.number), str(message.number))
        return fetch_value(MESSAGE, path) or b""

    def clean_body(self) -> str:
        return self.corrected("body", check_message_body)
