"""Django's command line: `python -m crud_service.manage <command>`.

Run as a module and not as a file: a file's own folder comes first on the
import path, where our modules could hide installed ones of the same name.
"""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
