"""What a workload's outputs decide: the section ``decisions`` of its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from azsim.config import DocumentPath
from azsim.inputs.labels import LABEL_SUFFIXES
from azsim.inputs.spec import Sha256

__all__ = ["Decision", "decision_rules"]


@dataclass(frozen=True)
class Decision:
    """A decision that is taken from an output, once a frame."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    output: Annotated[str, Field(min_length=1)]
    """A graph output of float numbers."""
    threshold: Annotated[float | None, Field(allow_inf_nan=False)] = None
    """Each number is a probability: yes from here on.  Left out: the last axis holds one number a
    class, and the class with the largest is taken, the first of equal ones."""
    labels: Annotated[str | None, Field(min_length=1)] = None
    """What is right: an ``.npz``, ``.npy`` or ``.csv`` file beside the workload, or
    ``pypi:NAME==VERSION#member/path``, with one whole number a frame: the class, or 0 and 1."""
    sha256: Sha256 | None = None
    """Of the labels; needed for ``pypi:``."""
    archive_sha256: Sha256 | None = None
    """Of the package's archive that holds them."""


def decision_rules(decisions: Mapping[str, Decision]) -> Iterator[tuple[DocumentPath, str]]:
    """Yield the path and the sentence of what no single key shows."""
    for name, decision in decisions.items():
        path = ("decisions", name)
        if decision.labels is None:
            for key in ("sha256", "archive_sha256"):
                if getattr(decision, key) is not None:
                    yield (*path, key), "the hash of a file, found no 'labels'; give the file"
        elif (suffix := PurePosixPath(decision.labels).suffix) not in LABEL_SUFFIXES:
            found = f"found {suffix!r}" if suffix else "found no ending"
            yield (
                (*path, "labels"),
                f"not a file of labels, {found}, allowed: {', '.join(LABEL_SUFFIXES)}",
            )
