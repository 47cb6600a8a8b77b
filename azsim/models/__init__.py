"""Model builders, one file each: from a few numbers to a graph that streams.

A builder is one module of this package that defines

``Parameters``
    A frozen dataclass of every dimension, with the published model's as defaults.  Fields carry
    pydantic's constraints, ``__pydantic_config__`` is ``ConfigDict(extra="forbid", strict=True)``
    and no field has a name of `azsim.frontend.workload_file.BuilderModel`.
``build(parameters, chunk_frames, weights) -> Model``
    The graph of one chunk of `chunk_frames` frames.  `weights` is one of `azsim.models._weights`
    and makes the arrays; `azsim.models._network` is the language that graphs are written in.
``find_conflicts(parameters, chunk_frames) -> iterable of (key, sentence)``
    Optional: what is wrong across parameters, by the parameter that has to change.

A *frame* is the model's own step, such as 60 ms of speech; a chunk is what the graph computes at
once.
"""

from __future__ import annotations

from types import ModuleType

from azsim.folder import folder_names, load_folder
from azsim.models._model import Model

__all__ = ["Model", "builder", "builder_names"]

_REQUIRED = ("Parameters", "build")


def builder_names() -> tuple[str, ...]:
    """Names of all builders, sorted; imports none of them."""
    return folder_names(__name__)


def builder(name: str) -> ModuleType:
    """Return a builder's module, by one of `builder_names`."""
    return load_folder(__name__, _REQUIRED)[name]
