"""JSON schemas of the files that users write, for editors.

They say what a file may hold as far as a schema can; reading the file says the rest, such as which
keys exclude each other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from azsim import hardware
from azsim.compression.scheme import AUTO
from azsim.compression.spec import CompressionSpec
from azsim.config import json_schema
from azsim.folder import folder_names
from azsim.frontend.builder_file import builder_type
from azsim.frontend.workload_file import WorkloadFile
from azsim.models import builder_names

__all__ = ["SCHEMAS"]

# Keys whose names are those of a folder's files, by the type that holds them.
_NAMED = (
    ("WeightSpec", "quantizer", "azsim.compression.quantizers", ()),
    ("PruneSpec", "method", "azsim.compression.pruners", ()),
    ("CodecSpec", "name", "azsim.codecs", (AUTO,)),
)


def _with_names(kind: type[Any]) -> dict[str, Any]:
    schema = copy.deepcopy(json_schema(kind))
    for holder, key, package, besides in _NAMED:
        text = schema["$defs"][holder]["properties"][key]["anyOf"][0]
        text["enum"] = [*folder_names(package), *besides]
    return schema


def _workload() -> dict[str, Any]:
    """Schema of a workload, with one alternative for each builder in place of their base."""
    schema = _with_names(WorkloadFile)
    definitions = schema["$defs"]
    choices = schema["properties"]["model"]["anyOf"]
    choices.remove({"$ref": "#/$defs/BuilderModel"})
    del definitions["BuilderModel"]
    for name in builder_names():
        own = copy.deepcopy(json_schema(builder_type(name)))
        definitions |= own.pop("$defs", {})
        definitions[f"builder_{name}"] = own
        choices.append({"$ref": f"#/$defs/builder_{name}"})
    return schema


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = MappingProxyType(
    {
        "workload": _workload,
        "hardware": hardware.file_schema,
        "scheme": lambda: _with_names(CompressionSpec),
    }
)
"""By the kind of file; `azsim.sweeps.schemas` has that of a sweep besides."""
