"""Options and settings of the whole test run."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

# Machines of CI are slow and shared: no deadline.  The same examples every time: a failure that
# one run shows, the next run shows too.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "search", settings.get_profile("default"), derandomize=False, max_examples=2000
)
settings.load_profile(os.environ.get("AZSIM_HYPOTHESIS_PROFILE", "default"))

# Tables are as wide as where nobody looks.  Pytest imports readline, which tells child processes
# (those of pytest-xdist are) how wide the terminal is.
os.environ.pop("COLUMNS", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what the tests got to tests/golden, instead of comparing",
    )
    parser.addoption(
        "--mutations",
        type=int,
        default=10_000,
        help="malformed streams that the codecs are given; 1000000 for a long run",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tests of a file that is named, and those that write goldens, run however slow they are."""
    is_named = any(".py" in argument for argument in config.args)
    if config.option.markexpr == "not slow" and (is_named or config.getoption("--update-golden")):
        config.option.markexpr = ""


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say something at the end of the run, also where nobody sees what a process prints."""
    return lambda text: record_property("told", text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests told."""
    for report in terminalreporter.getreports("passed"):
        told = [str(text) for name, text in report.user_properties if name == "told"]
        if told and report.when == "call":
            terminalreporter.write_sep("-", report.nodeid)
            terminalreporter.write_line("\n".join(told))


@pytest.fixture
def mutations(request: pytest.FixtureRequest) -> int:
    return int(str(request.config.getoption("--mutations")))
