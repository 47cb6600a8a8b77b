"""Functional execution: run a program's instructions on the architectural state.

Bit-exact and without time; instructions run one after another in program order, which is what
a race-free program's result does not depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from azsim.collector import no_collection
from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.isa.program import DramImage, Port, Program, Stream, Tap
from azsim.machine.operation import Operation
from azsim.machine.state import NUMPY_TYPES, Machine
from azsim.machine.trace import Recorder, Trace
from azsim.machine.window import Moved
from azsim.sim.sequencer import Sequencer
from azsim.sim.translate import Stretches
from azsim.sim.translation import Sites, Translation, keep_translation, take_translation

__all__ = ["Execution", "execute"]

# A program that goes round for ever is told from one that takes long by these.
_MAX_CONTROL_INSTRUCTIONS = 10_000_000
"""Control instructions that may follow each other without one for an engine."""
_MAX_FRAME_INSTRUCTIONS = 200_000_000
"""Instructions from one paced load to the next, or in all where nothing is paced."""


@dataclass(frozen=True)
class Execution:
    """What a functional run gives.

    Attributes
    ----------
    trace : Trace
    outputs : dict of str to ndarray
        Final contents of the output ports: (frames, ...) of their types.
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
    _write_ports(data, program, inputs)
    return DramImage(data)


def _write_ports(data: np.ndarray, program: Program, inputs: Mapping[str, np.ndarray]) -> None:
    """Put inputs at their ports."""
    for port in program.inputs:
        if port.name not in inputs:
            raise MachineError(f"input '{port.name}' is missing")
        dtype = NUMPY_TYPES[port.dtype]
        values = np.asarray(inputs[port.name], dtype)
        if values.nbytes != port.num_bytes:
            raise MachineError(
                f"input '{port.name}' has {values.nbytes} bytes, its port {port.num_bytes}"
            )
        write_port(data, port, values)


def _touch_ports(machine: Machine, ports: Iterable[Port]) -> None:
    for port in ports:
        machine.dram.touch(port.addr, port.end)


def write_port(memory: np.ndarray, port: Port, values: np.ndarray) -> None:
    """Put a port's frames, as many elements in any shape, where the program finds them."""
    frames = np.asarray(values, NUMPY_TYPES[port.dtype]).reshape(port.frames, *port.shape)
    stored = np.ascontiguousarray(port.to_memory(frames)).reshape(-1).view(np.uint8)
    port.of(memory)[...] = stored.reshape(port.frames, port.frame_bytes)


def read_port(memory: np.ndarray, port: Port) -> np.ndarray:
    """Return a port's contents, (frames, ...) of its type."""
    raw = np.ascontiguousarray(port.of(memory)).reshape(-1).copy()
    return np.ascontiguousarray(port.from_memory(raw.view(NUMPY_TYPES[port.dtype])))


class _Taps:
    """Keeps the tensors that a program's taps show, one entry a frame."""

    def __init__(self, program: Program) -> None:
        self._by_index: dict[int, list[Tap]] = {}
        self.indices: Collection[int] = self._by_index.keys()
        for tap in program.taps:
            self._by_index.setdefault(tap.index, []).append(tap)
        self._seen: dict[str, dict[tuple[int, int], np.ndarray]] = {
            tap.tensor: {} for tap in program.taps
        }

    @property
    def seen(self) -> dict[str, list[np.ndarray]]:
        """By tensor, an entry a frame."""
        return {tensor: [seen[at] for at in sorted(seen)] for tensor, seen in self._seen.items()}

    def keep(self, machine: Machine, index: int, frame: int) -> None:
        """Copy what is complete after an instruction."""
        for tap in self._by_index.get(index, ()):
            memory = machine.memory["activation"].data
            dtype = NUMPY_TYPES[tap.dtype]
            array = np.ndarray(tap.shape, dtype, memory, tap.addr, tap.strides_bytes).copy()
            seen = self._seen[tap.tensor]
            # A loop may write it several times in a frame, and the last one counts; without a paced
            # load there is nothing to tell frames by, and all count.
            seen[frame, tap.frame if frame else len(seen)] = array


def _shown(op: Operation, machine: Machine, sites: Sites) -> dict[str, Moved]:
    """What the operands of an engine operation show."""
    shown = {}
    for name, number in sites.registers(op).items():
        window = machine.windows[number]
        if window is None:
            machine.view(number, op.index)  # which tells
        else:
            shown[name] = Moved(window, machine.offsets[number])
    return shown


def _endless(op: Operation, found: str) -> MachineError:
    """The error of a program that goes on and on."""
    place = f"instruction {op.index} ({op.mnemonic})"
    return MachineError(f"{place}: the program does not come to its end, more than {found}")


def _begun(rounds: int, stream: Stream) -> int:
    """Frames that have begun; those that are left over come with the last round."""
    begun = rounds * stream.together
    return begun if stream.frames - begun >= stream.together else stream.frames


@no_collection()
def execute(
    program: Program,
    image: DramImage,
    hardware: Hardware,
    *,
    inputs: Mapping[str, np.ndarray] | None = None,
    taps: bool = False,
    traced: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Execution:
    """Run a program to its halt.

    Parameters
    ----------
    program : Program
    image : DramImage
        With the inputs in place, see `write_inputs`, if they are not given.
    hardware : Hardware
        For its capacities and codecs.
    inputs : mapping of str to ndarray, optional
        Arrays for the input ports, which saves a copy of the image.
    taps : bool
        Also keep the tensors of `program.taps`.
    traced : bool
        Whether to keep the trace; else it is empty, and a fifth of the time is saved.
    progress : callable, optional
        Called with the number of frames that the paced loads so far stand for.

    Raises
    ------
    MachineError
        If an instruction does what the machine forbids, or the program does not come to its end.
    CodecError
        If a block of compressed weights is malformed.
    """
    if taps:  # stretches end where they look at memory
        translation = Translation(program, image, hardware)
    else:
        translation = take_translation(program, image, hardware)
    machine = Machine(program, image, hardware, translation.windows, translation.arena)
    machine.epoch = translation.epoch
    if inputs is not None:
        _touch_ports(machine, program.inputs)
        _write_ports(machine.memory["dram"], program, inputs)
    recorder, sites = Recorder(keeps=traced), translation.sites
    sequencer = Sequencer(translation.around, machine, recorder)
    watch = _Taps(program) if taps else None
    operations = translation.operations
    stretches = Stretches(
        translation, machine, recorder, watch.indices if watch is not None else ()
    )
    starts = stretches.starts

    frame = index = 0
    control = frame_begin = 0  # control instructions in a row; instructions before the frame
    with np.errstate(all="ignore"):
        while index >= 0:
            if index >= len(operations):
                raise MachineError("the program ends without halt")
            if starts[index] and (ran := stretches.run(index)) is not None:
                control = 0 if ran.has_engine else control + len(ran.sequence)
                index = ran.end
                continue
            op = operations[index]
            if op.execute is None:
                recorder.sequence.append(recorder.site(sites.of_control(op)))
                control += 1
                if control > _MAX_CONTROL_INSTRUCTIONS:
                    found = f"{_MAX_CONTROL_INSTRUCTIONS} control instructions in a row"
                    raise _endless(op, found)
                if recorder.executed - frame_begin > _MAX_FRAME_INSTRUCTIONS:
                    found = f"{_MAX_FRAME_INSTRUCTIONS} instructions without a paced load"
                    raise _endless(op, found)
                if watch is not None and op.mnemonic == "fence":
                    watch.keep(machine, index, frame)
                index = sequencer.next_index(op)
                continue
            control = 0
            if op.epoch != machine.epoch:
                op.site = recorder.site(sites.of_engine(op, _shown(op, machine, sites)))
                op.epoch = machine.epoch
            recorder.sequence.append(op.site)
            op.execute(machine, op, recorder)
            if op.paced:
                frame += 1
                frame_begin = recorder.executed
                if progress is not None:
                    progress(_begun(frame, program.stream))
            if watch is not None:
                watch.keep(machine, index, frame)
            index += 1
    _touch_ports(machine, program.outputs)
    dram = machine.memory["dram"]
    outputs = {port.name: read_port(dram, port) for port in program.outputs}
    trace = recorder.finish()
    if not taps and traced:
        translation.epoch, translation.arena = machine.epoch + 1, machine.arena
        trace = keep_translation(translation, trace)
    return Execution(trace, outputs, watch.seen if watch else {})
