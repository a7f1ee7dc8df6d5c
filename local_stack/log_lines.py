"""Log lines of all parts as a person reads them: JSON unfolded, PostgreSQL's and Valkey's cut."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

POSTGRES = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3}) UTC \[\d+\] (\w+): +(.*)")
VALKEY = re.compile(r"\d+:[XCSM] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) ([.*#-]) (.*)")
POSTGRES_LEVELS = {"ERROR": "error", "FATAL": "error", "PANIC": "error", "WARNING": "warning"}
# What the columns say already, or what says nothing to a reader.
LEFT_OUT = {"time", "level", "service", "logger", "message", "exception", "method", "path"}
LEFT_OUT |= {"status", "duration_ms"}
# Texts of clients must not control the terminal.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class LogLine(NamedTuple):
    """A line of a log: `time` in UTC as HH:MM:SS.mmm; what follows an error has none."""

    time: str
    level: str
    text: str
    date: str = ""


def read_line(line: str) -> LogLine:
    """Read a line of any part, unknown ones as they are."""
    for read in (read_json, read_postgres, read_valkey):
        found = read(line)
        if found is not None:
            return found._replace(text=printable(found.text))
    return LogLine("", "", printable(line))


def read_json(line: str) -> LogLine | None:
    try:
        record = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    return read_elasticsearch(record) if "@timestamp" in record else read_ours(record)


def read_ours(record: Mapping[str, Any]) -> LogLine:
    """Read a line of our own: a request as one phrase, others with their fields behind them."""
    text = str(record.get("message", ""))
    if text == "request":
        text = "{method} {path} {status} in {duration_ms} ms".format_map(Blank(record))
    fields = [f"{name}={value}" for name, value in record.items() if name not in LEFT_OUT]
    text = "  ".join([text, *fields])
    if "exception" in record:
        text += f"\n{record['exception']}"
    return moment(str(record.get("time", "")), str(record.get("level", "")), text)


def read_elasticsearch(record: Mapping[str, Any]) -> LogLine:
    logger = str(record.get("log.logger", "")).rpartition(".")[2]
    text = f"{logger}: {record.get('message', '')}"
    if "error.stack_trace" in record:
        text += f"\n{record['error.stack_trace']}"
    level = str(record.get("log.level", "")).strip().lower()
    return moment(str(record["@timestamp"]), level.replace("warn", "warning"), text)


class Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def read_postgres(line: str) -> LogLine | None:
    if not (found := POSTGRES.match(line)):
        return None
    date, time, level, text = found.groups()
    return LogLine(time, POSTGRES_LEVELS.get(level, "info"), text, date)


def read_valkey(line: str) -> LogLine | None:
    """Read a line of Valkey's, which has the time of this machine's zone."""
    if not (found := VALKEY.match(line)):
        return None
    when, level, text = found.groups()
    local = datetime.strptime(when, "%d %b %Y %H:%M:%S.%f").astimezone()
    in_utc = f"{local.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3]
    return moment(in_utc, "warning" if level == "#" else "info", text)


def moment(timestamp: str, level: str, text: str) -> LogLine:
    return LogLine(timestamp[11:23], level, text, timestamp[:10])


def printable(text: str) -> str:
    """Replace control characters, except line breaks and tabs, by their escapes."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
