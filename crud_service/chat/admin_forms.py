"""The texts that operators may correct, held to the same rules as in the API."""

from collections.abc import Callable

from django import forms

from contract.fields import check_message_body, check_name
from contract.problems import ValidationFailed
from crud_service.chat.models import Application, Message


def checked(text: str, check: Callable[[object], str]) -> str:
    """A text that the API would take; browsers send each line break as two characters."""
    try:
        return check(text.replace("\r\n", "\n"))
    except ValidationFailed as problem:
        raise forms.ValidationError(problem.errors[0]["message"]) from problem


class ApplicationForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    name = forms.CharField(strip=False)

    class Meta:
        model = Application
        fields = ("name",)

    def clean_name(self) -> str:
        return checked(self.cleaned_data["name"], check_name)


class MessageForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    body = forms.CharField(strip=False, widget=forms.Textarea)

    class Meta:
        model = Message
        fields = ("body",)

    def clean_body(self) -> str:
        return checked(self.cleaned_data["body"], check_message_body)
