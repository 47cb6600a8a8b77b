"""Prove: the checkers on a program that the compiler has just made."""

from __future__ import annotations

from azsim.compiler.block_cache import is_proved, note_proof, proof_key
from azsim.compiler.compile import Compiled
from azsim.errors import CompileError
from azsim.hardware.description import Hardware
from azsim.sim.checks import check_program

__all__ = ["prove"]

_SHOWN = 5


def prove(compiled: Compiled, hardware: Hardware) -> None:
    """Check a compiled program.

    Raises
    ------
    CompileError
        If a checker finds something: a defect of the compiler.  What a checker cannot tell is
        none (`azsim check` names it).
    """
    key = proof_key(compiled.program, compiled.image, hardware)
    if is_proved(key):
        return
    findings = [
        (verdict.check, finding)
        for verdict in check_program(compiled.program, hardware, compiled.image)
        for finding in verdict.findings
    ]
    if not findings:
        note_proof(key)
        return
    sentences = [
        f"the compiler made a wrong program, which is a defect of azsim; {check}: "
        f"{finding.sentence}"
        for check, finding in findings[:_SHOWN]
    ]
    if len(findings) > _SHOWN:
        sentences.append(f"and {len(findings) - _SHOWN} more; azsim check shows all")
    raise CompileError("\n".join(sentences))
