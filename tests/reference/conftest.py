"""Comparisons with PyTorch, transformers and librosa: an environment of their own.

``pip install -e ".[test,reference]"`` brings what they need.  Without it each file is skipped, and
says so; with ``AZSIM_REQUIRE_REFERENCE=1`` (set in CI, which installs it) that is a failure.
"""

from __future__ import annotations

import importlib
import os

import pytest

_NEEDED = ("torch", "transformers", "librosa")

if os.environ.get("AZSIM_REQUIRE_REFERENCE") == "1":
    for _name in _NEEDED:
        importlib.import_module(_name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what the other libraries warn about pass: it is about them."""
    for item in items:
        if "reference" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("default"))
