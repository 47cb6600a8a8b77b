"""Functional execution: run a program's instructions on the architectural state.

Bit-exact and without time; instructions run one after another in program order, which is what
a race-free program's result does not depend on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.isa.program import DramImage, Port, Program
from azsim.isa.spec import instruction_set
from azsim.machine.instructions import instructions
from azsim.machine.state import Machine, Operation
from azsim.machine.trace import Recorder, Site, Trace, make_site

__all__ = ["Execution", "execute"]

_VIEW_OPERANDS = ("dst", "src", "src2", "scale", "bias")
_MAX_LOOP_DEPTH = 8


@dataclass(frozen=True)
class Execution:
    """What a functional run gives.

    Attributes
    ----------
    trace : Trace
    outputs : dict of str to ndarray
        Final contents of the output ports: (frames, ...) float32.
    tapped : dict of str to list of ndarray
        Tensors seen on the way, one entry a frame; empty unless asked for.
    """

    trace: Trace
    outputs: dict[str, np.ndarray]
    tapped: dict[str, list[np.ndarray]] = field(default_factory=dict)


def write_inputs(program: Program, image: DramImage, inputs: dict[str, np.ndarray]) -> DramImage:
    """Return the image with the inputs at their ports.

    Raises
    ------
    MachineError
        If an input is missing or has another size than its port.
    """
    data = image.data.copy()
    for port in program.inputs:
        if port.name not in inputs:
            raise MachineError(f"input '{port.name}' is missing")
        values = np.ascontiguousarray(inputs[port.name], "<f4").reshape(-1).view(np.uint8)
        if values.size != port.num_bytes:
            raise MachineError(
                f"input '{port.name}' has {values.size} bytes, its port {port.num_bytes}"
            )
        data[port.addr : port.addr + values.size] = values
    return DramImage(data)


def read_port(memory: np.ndarray, port: Port) -> np.ndarray:
    """Return a port's contents, (frames, ...) float32."""
    raw = memory[port.addr : port.addr + port.num_bytes]
    return raw.view("<f4").reshape(port.frames, *port.shape).copy()


def _site_maker(program: Program, operations: list[Operation], machine: Machine, recorder: Recorder):
    spec = instruction_set()
    table = instructions()
    operands = {
        name: [operand for operand in entry.operands if operand in _VIEW_OPERANDS]
        for name, entry in spec.instructions.items()
    }
    engines = {name: entry.engine for name, entry in spec.instructions.items()}

    def site(op: Operation) -> int:
        """Resolve an operation's operands: shapes, liveness, legality; once for each shape."""
        names = [
            name for name in operands[op.mnemonic] if name != "bias" or op.use_bias
        ]
        numbers = [getattr(op, name) for name in names]
        views = {
            name: machine.view(number, op.index)
            for name, number in zip(names, numbers, strict=True)
        }
        key = (op.index, *((v.space, v.dtype, v.rows, v.cols) for v in views.values()))

        def make() -> Site:
            for number in numbers:
                machine.check_live(number, op.index)
            if op.mnemonic in table:
                table[op.mnemonic].footprint(op, lambda number: machine.view(number, op.index))
            given = program.instructions[op.index].operands
            waits = {
                name.removeprefix("wait_"): int(value)
                for name, value in given.items()
                if name.startswith("wait_")
            }
            return make_site(op, engines[op.mnemonic], waits, views)

        return recorder.site(key, make)

    return site


def execute(
    program: Program,
    image: DramImage,
    hardware: Hardware,
    *,
    taps: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Execution:
    """Run a program to its halt.

    Parameters
    ----------
    program : Program
    image : DramImage
        With the inputs in place, see `write_inputs`.
    hardware : Hardware
        For its capacities and codecs.
    taps : bool
        Also keep the tensors of `program.taps`.
    progress : callable, optional
        Called with the number of frames begun.

    Raises
    ------
    MachineError
        If an instruction does what the machine forbids.
    CodecError
        If a block of compressed weights is malformed.
    """
    machine = Machine(program, image, hardware)
    recorder = Recorder()
    table = instructions()
    operations = [
        Operation(index, instruction.mnemonic, instruction.operands)
        for index, instruction in enumerate(program.instructions)
    ]
    for op in operations:
        op.execute = table[op.mnemonic].execute if op.mnemonic in table else None
    site_of = _site_maker(program, operations, machine, recorder)
    watch: dict[int, list[int]] = {}
    if taps:
        for number, tap in enumerate(program.taps):
            watch.setdefault(tap.index, []).append(number)
    seen: dict[str, list[np.ndarray]] = {tap.tensor: [] for tap in program.taps} if taps else {}

    frame = 0
    sequence = recorder.sequence
    loops: list[list[int]] = []
    pc = 0
    with np.errstate(all="ignore"):
        while True:
            if pc >= len(operations):
                raise MachineError("the program ends without halt")
            op = operations[pc]
            if op.execute is not None:
                if op.epoch != machine.epoch:
                    op.site = site_of(op)
                    op.epoch = machine.epoch
                sequence.append(op.site)
                op.execute(machine, op, recorder)
                if op.paced:
                    frame += 1
                    if progress is not None:
                        progress(frame)
                if taps and pc in watch:
                    for number in watch[pc]:
                        _keep(machine, program.taps[number], seen, frame)
                pc += 1
                continue
            if op.site < 0:
                op.site = recorder.site((pc,), lambda op=op: make_site(op, "control", {}, {}))
            sequence.append(op.site)
            mnemonic = op.mnemonic
            if mnemonic == "view":
                assert op.window is not None
                machine.set_view(op.view, op.window, pc)
            elif mnemonic == "view_step":
                machine.step_view(op.view, op.step, pc)
            elif mnemonic == "loop":
                if len(loops) == _MAX_LOOP_DEPTH:
                    raise MachineError(f"instruction {pc}: loops nest deeper than {_MAX_LOOP_DEPTH}")
                loops.append([pc + 1, op.count])
            elif mnemonic == "end_loop":
                if not loops:
                    raise MachineError(f"instruction {pc}: end_loop without loop")
                loops[-1][1] -= 1
                if loops[-1][1] > 0:
                    pc = loops[-1][0]
                    continue
                loops.pop()
            elif mnemonic == "halt":
                if loops:
                    raise MachineError(f"instruction {pc}: halt inside a loop")
                break
            pc += 1
    dram = machine.memory["dram"]
    outputs = {port.name: read_port(dram, port) for port in program.outputs}
    return Execution(recorder.finish(), outputs, seen)


def _keep(machine: Machine, tap, seen: dict[str, list[np.ndarray]], frame: int) -> None:
    array = np.ndarray(
        tap.shape, np.float32, machine.memory["activation"].data, tap.addr, tap.strides_bytes
    ).copy()
    kept = seen[tap.tensor]
    if len(kept) == frame and frame:
        kept[-1] = array  # the tensor is complete only after the last of several writes
    else:
        kept.append(array)
