"""Which of Django's system checks a management command runs before it begins."""

from django.core.checks import Tags

# The others import the URLs, and with them all views and pages of the HTTP service, for longer
# than most commands take. `manage check` runs every one of them.
COMMAND_CHECKS = (Tags.models,)
