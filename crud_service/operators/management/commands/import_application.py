"""`python -m crud_service.manage import_application`"""

import gzip
import os
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm  # type: ignore[import-untyped]

from crud_service.operators.interruption import exit_on_signals
from crud_service.operators.system_checks import COMMAND_CHECKS
from crud_service.postgresql import IMPORTER
from crud_service.stores.database import connect_as
from crud_service.transfer.importing import (
    ImportFailedError,
    OutcomeUnknownError,
    import_application,
)
from crud_service.transfer.lines import LineOrder
from crud_service.transfer.unfinished import remove_left_behind

GZIP = b"\x1f\x8b"
REPORT_SECONDS = 10.0


class Command(BaseCommand):
    requires_system_checks = COMMAND_CHECKS
    help = (
        "Reads an export (`GET /applications/{access_token}/export`) into a new application, and "
        "prints its access token. Numbers and times are kept. Can run on a live system: nobody "
        "sees the application before it is complete, and after a bad line or an interruption "
        "nothing of it stays."
    )

    def __init__(self, *arguments: Any, report_seconds: float = REPORT_SECONDS, **options: Any):
        super().__init__(*arguments, **options)
        self._report_seconds = report_seconds

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the export, as it is or gzipped; - for standard input")

    @exit_on_signals()
    def handle(self, *args: Any, **options: Any) -> None:
        token = ""
        try:
            with (
                opened(options["file"]) as raw,
                connect_as(IMPORTER) as connection,
                Progress(raw, self._report_seconds) as progress,
            ):
                remove_left_behind(connection, progress.show_removed)
                token = import_application(
                    connection, unzipped(raw), progress.show, progress.show_removed
                )
        except ImportFailedError as error:
            raise CommandError(f"{error}; nothing was imported") from None
        except OutcomeUnknownError as error:
            raise CommandError(
                "PostgreSQL did not say whether the import succeeded: if it did, its access token "
                f"is {error.access_token}"
            ) from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CommandError(f"the file cannot be decompressed: {error}") from error
        except OSError as error:
            raise CommandError(f"the file cannot be read: {error}") from error
        except psycopg.Error as error:
            first, *_ = str(error).splitlines() or [type(error).__name__]
            raise CommandError(f"PostgreSQL failed, nothing was imported: {first}") from error
        except SystemExit as error:
            if not token:  # else it came too late: the application was imported
                code = cast(int, error.code)
                raise CommandError("interrupted; nothing was imported", returncode=code) from None
        try:
            self.stdout.write(token)
            self.stdout.flush()
        except OSError as error:
            raise CommandError(
                f"standard output cannot be written: {error}; the application was imported, its "
                f"access token is {token}"
            ) from error


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as file:
        yield file


def unzipped(raw: BinaryIO) -> BinaryIO:
    """Return the content of a file that may be gzipped."""
    # Both a file and standard input are buffered, so they can be peeked at.
    is_gzip = raw.peek(2)[:2] == GZIP  # type: ignore[attr-defined]
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_gzip else raw


class Progress:
    """Shows how far an import is: a bar on a terminal, else a line every few seconds."""

    def __init__(self, raw: BinaryIO, report_seconds: float) -> None:
        self._raw = raw
        self._report_seconds = report_seconds
        # Of a pipe, which may also have a name, neither the size nor the position is known.
        status = os.fstat(raw.fileno())
        self._size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._shown_at = time.monotonic()
        self._read = self._removed = 0
        self._bar = tqdm(
            total=self._size,
            unit="B",
            unit_scale=True,
            miniters=0,  # drawn again by time alone: a removal reads nothing
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, order: LineOrder) -> None:
        """Show progress; called after each piece."""
        read = 0 if self._size is None else self._raw.tell() - self._read
        self._read += read
        share = f"{100 * self._read // self._size} %, " if self._size else ""
        self._say(f"{order.chats:,} chats, {order.messages:,} messages", share, read)

    def show_removed(self, messages: int) -> None:
        """Show that messages of an unfinished import were removed; called after each batch."""
        self._removed += messages
        self._say(f"removing an unfinished import: {self._removed:,} messages")

    def _say(self, text: str, share: str = "", read: int = 0) -> None:
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(read)
        if self._bar.disable and time.monotonic() - self._shown_at > self._report_seconds:
            self._shown_at = time.monotonic()
            print(f"{share}{text}", file=sys.stderr, flush=True)  # noqa: T201 - a command
