"""Workload files whose model is a builder's: its parameters are keys of ``model:``.

Only the builder that a file names is imported, and its parameters are checked with all else in the
file.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from azsim.frontend.workload_file import BuilderModel, WorkloadFile
from azsim.models import builder, builder_names

__all__ = ["builder_type", "file_type"]

_STRICT = ConfigDict(extra="forbid", strict=True)


def file_type(data: Any) -> type[WorkloadFile]:
    """Type of a workload file, given what it holds."""
    model = data.get("model") if isinstance(data, Mapping) else None
    name = model.get("builder") if isinstance(model, Mapping) else None
    if not isinstance(name, str):
        return WorkloadFile
    return _file_type(builder_type(name) if name in builder_names() else _UnknownBuilder)


@dataclass(frozen=True, kw_only=True)
class _UnknownBuilder(BuilderModel):
    """Nobody knows which parameters it would have."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore", strict=True)


@functools.cache
def _file_type(model: type[BuilderModel]) -> type[WorkloadFile]:
    return make_dataclass(
        "WorkloadFile",
        [("model", model)],
        bases=(WorkloadFile,),
        namespace={"__pydantic_config__": _STRICT, "__doc__": WorkloadFile.__doc__},
        frozen=True,
    )


@functools.cache
def builder_type(name: str) -> type[BuilderModel]:
    """Type of ``model:`` with one builder: its ``Parameters``, and `BuilderModel`."""
    return make_dataclass(
        name,
        [
            ("__pydantic_config__", ClassVar[ConfigDict], field(default=_STRICT)),
            ("builder", Literal[name]),
        ],
        bases=(BuilderModel, builder(name).Parameters),
        frozen=True,
        kw_only=True,
    )
