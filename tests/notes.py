"""What tests note for the summary of a session, whichever process ran them.

A test notes with pytest's own `record_property`, whose values travel with its report.
"""

from typing import Any

import pytest


def noted(terminalreporter: pytest.TerminalReporter, name: str) -> list[Any]:
    """Return what was noted under a name, in the order in which the tests ended."""
    reports = [
        report
        for group in terminalreporter.stats.values()
        for report in group
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    reports.sort(key=lambda report: report.stop)
    return [value for report in reports for key, value in report.user_properties if key == name]
