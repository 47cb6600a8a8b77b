"""JSON schemas of all files that users write; a sweep's needs this room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from azsim.report import schemas
from azsim.sweeps.sweep_file import file_schema

__all__ = ["SCHEMAS"]

SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = MappingProxyType(
    {**schemas.SCHEMAS, "sweep": file_schema}
)
"""What ``azsim schema`` prints, by the kind of file."""
