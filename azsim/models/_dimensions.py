"""Kinds of numbers that builders' parameters are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

__all__ = ["STRICT", "Count", "Dimension", "Epsilon", "Seconds"]

STRICT = ConfigDict(extra="forbid", strict=True)

Dimension = Annotated[int, Field(ge=1, le=1 << 20)]
"""Length of an axis."""

Count = Annotated[int, Field(ge=1, le=1024)]
"""How many layers, heads, ..."""

Seconds = Annotated[float, Field(gt=0, le=3600)]

Epsilon = Annotated[float, Field(ge=1e-12, le=1)]
"""Added to a variance or a mean square."""
