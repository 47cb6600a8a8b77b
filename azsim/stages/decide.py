"""Decide: what a workload takes its outputs for, and what would be right."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from azsim.config.document import dotted
from azsim.errors import ConfigError, InputError, unknown
from azsim.frontend.decisions import Decision
from azsim.frontend.workload import Workload
from azsim.frontend.workload_inputs import label_files
from azsim.inputs.labels import read_labels
from azsim.ir import TensorType
from azsim.stages.prepare import Prepared

__all__ = ["Rule", "label_hashes", "read_rules", "taken"]


@dataclass(frozen=True)
class Rule:
    """How a decision is taken, once a frame.

    Attributes
    ----------
    output : str
    threshold : float or None
        None: the class with the largest number along the last axis.
    count : int
        Decisions in the whole run, those on zeros that fill up a last chunk left out.
    labels : ndarray of int64, shape (count,), or None
    """

    output: str
    threshold: float | None
    count: int
    labels: np.ndarray | None = None


def read_rules(workload: Workload, prepared: Prepared) -> dict[str, Rule]:
    """Read the section ``decisions``, and the labels that it names.

    Parameters
    ----------
    workload : Workload
    prepared : Prepared

    Raises
    ------
    InputError
        With every decision that the model cannot take, and all labels that do not fit.
    """
    files = label_files(workload)
    rules, problems = {}, []
    for name, decision in workload.decisions.items():
        path = ("decisions", name)
        try:
            kind = _output_type(decision, prepared)
            count = _count(decision, kind, prepared)
            labels = None
            if name in files:
                path = (*path, "labels")
                labels = read_labels(files[name], name)
                classes = 2 if decision.threshold is not None else kind.shape[-1]
                _check_labels(labels, count, classes)
            rules[name] = Rule(decision.output, decision.threshold, count, labels)
        except InputError as error:
            problems.append(f"{workload.place(path)}: {dotted(path)}: {error}")
    if problems:
        raise ConfigError(problems)
    return rules


def label_hashes(workload: Workload) -> dict[str, str]:
    """Return sha256 of every file of labels, by its reference."""
    return {
        str(workload.decisions[name].labels): hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in label_files(workload).items()
    }


def _output_type(decision: Decision, prepared: Prepared) -> TensorType:
    """Type of the output, if something can be decided from it."""
    graph, carried = prepared.compressed.graph, set(prepared.state.values())
    outputs = [name for name in graph.outputs if name not in carried]
    if decision.output in carried:
        raise InputError(f"{decision.output!r} is carried state, allowed: {', '.join(outputs)}")
    if decision.output not in outputs:
        raise InputError(unknown("graph output", decision.output, outputs))
    kind = graph.types[decision.output]
    if np.dtype(kind.dtype).kind != "f":
        found = f"{decision.output!r} holds choices already ({kind})"
        raise InputError(f"{found}; outputs.{decision.output}.equal_share compares them")
    if decision.threshold is None and (not kind.shape or kind.shape[-1] < 2):
        found = f"found {decision.output!r} of {kind}"
        raise InputError(f"one number is the largest of nothing, {found}; give a threshold")
    return kind


def _count(decision: Decision, kind: TensorType, prepared: Prepared) -> int:
    chunks, stream = prepared.chunks, prepared.stream
    classes = 1 if decision.threshold is not None else kind.shape[-1]
    in_chunk = kind.num_elements // classes
    if in_chunk % chunks.chunk_frames:  # not one a frame: which ones are of zeros is not known
        return in_chunk * stream.frames
    return in_chunk // chunks.chunk_frames * chunks.frames


def _check_labels(labels: np.ndarray, count: int, classes: int) -> None:
    if len(labels) != count:
        raise InputError(f"{count} decisions are taken, found {len(labels)} labels")
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(f"label {at} is {labels[at]}, allowed: 0 to {classes - 1}")


def taken(rule: Rule, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Take the decisions of a run.

    Parameters
    ----------
    rule : Rule
    outputs : mapping of str to ndarray
        As `azsim.stages.check.named_outputs` has them.

    Returns
    -------
    ndarray of int64, shape (count,)
        Classes, or 1 for yes.
    """
    values = outputs[rule.output]
    found = values.argmax(axis=-1) if rule.threshold is None else values >= rule.threshold
    return found.reshape(-1)[: rule.count].astype(np.int64)
