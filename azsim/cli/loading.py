"""Workloads and chips as the options of a command name them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from azsim.errors import ConfigError
from azsim.resources import DEFAULT_HARDWARE

if TYPE_CHECKING:
    from azsim.frontend.workload import Workload
    from azsim.hardware import Hardware

__all__ = [
    "ASSEMBLY_SUFFIX",
    "DATA_OF_WORKLOAD",
    "PROGRAM_SUFFIX",
    "load",
    "load_chip",
    "planning_chip",
    "read_workload",
]

PROGRAM_SUFFIX, ASSEMBLY_SUFFIX = ".npz", ".azs"
DATA_OF_WORKLOAD = "arrays are for programs (.azs, .npz); a workload's file names its input"


def load(arguments: argparse.Namespace) -> tuple[Workload, Hardware]:
    """Read workload and hardware; the problems of both, and of all overrides, come at once."""
    from azsim.config import split_overrides
    from azsim.frontend.workload import load_workload, named_hardware
    from azsim.hardware import load_hardware

    problems: list[str] = []
    workload = hardware = None
    try:
        sets = split_overrides(arguments.set, ("workload", "hardware"))
    except ConfigError as error:
        problems += error.problems
        known = [text for text in arguments.set if text.startswith(("workload.", "hardware."))]
        sets = split_overrides(known, ("workload", "hardware"))
    try:
        workload = load_workload(arguments.workload, sets["workload"])
    except ConfigError as error:
        problems += error.problems
    reference = arguments.hardware or named_hardware(arguments.workload, sets["workload"])
    if reference:
        try:
            hardware = load_hardware(reference, sets["hardware"])
        except ConfigError as error:
            problems += error.problems
    if problems or workload is None or hardware is None:
        raise ConfigError(problems)
    return workload, hardware


def load_chip(arguments: argparse.Namespace) -> Hardware:
    """Read the hardware of a command that has no workload."""
    from azsim.config import split_overrides
    from azsim.hardware import load_hardware

    sets = split_overrides(arguments.set, ("hardware",))
    return load_hardware(arguments.hardware or DEFAULT_HARDWARE, sets["hardware"])


def read_workload(path_or_name: str, texts: Sequence[str]) -> Workload:
    """Read the workload of a command that has no hardware."""
    from azsim.config import split_overrides
    from azsim.frontend.workload import load_workload

    return load_workload(path_or_name, split_overrides(texts, ("workload",))["workload"])


def planning_chip(arguments: argparse.Namespace) -> Hardware | None:
    """Return the chip before `--set`, whose timing values are planned with; None to replan."""
    from azsim.config import split_overrides
    from azsim.frontend.workload import named_hardware
    from azsim.hardware import load_hardware

    sets = split_overrides(arguments.set, ("workload", "hardware"))
    if arguments.replan or not sets["hardware"]:
        return None
    reference = arguments.hardware or named_hardware(arguments.workload, sets["workload"])
    try:
        return load_hardware(reference) if reference else None
    except ConfigError:
        return None  # a file that is whole only with what is set: its values are the set ones
