"""What checkers found, as a table, as sentences and as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from azsim.isa.assembly import format_instruction
from azsim.isa.program import Program
from azsim.report.listing import Listing, listing
from azsim.report.units import counted
from azsim.sim.checks import Finding, Verdict, checkers

__all__ = ["proof_document", "proof_lines", "proof_table"]


def proof_table(program: Program, hardware_name: str, verdicts: Sequence[Verdict]) -> Listing:
    """One row a checker: what it came to, and what it looked at; the assumptions below."""
    rows = [(verdict.check, _result(verdict), verdict.looked_at) for verdict in verdicts]
    missing = [name for name in checkers() if name not in {verdict.check for verdict in verdicts}]
    rows += [(name, "not looked at", "control can go astray") for name in missing]
    assumed = "; ".join(_assumptions(verdicts))
    title = f"Proofs of {program.name} on {hardware_name}"
    return listing(title, ("check", "result", "looked at"), rows, f"Assumed: {assumed}")


def _result(verdict: Verdict) -> str:
    if verdict.findings:
        return counted(len(verdict.findings), "finding")
    return "not proved" if verdict.unproved else "proved"


def _assumptions(verdicts: Sequence[Verdict]) -> list[str]:
    table = checkers()
    return [sentence for verdict in verdicts for sentence in table[verdict.check].ASSUMES]


def proof_lines(program: Program, verdicts: Sequence[Verdict], limit: int) -> Iterator[str]:
    """Each finding with the instructions that have a part in it, then what is not proved."""
    for verdict in verdicts:
        for kind, findings in (("", verdict.findings), (" not proved:", verdict.unproved)):
            for finding in findings[:limit]:
                yield f"{verdict.check}:{kind} {finding.sentence}"
                for index in _involved(program, finding):
                    yield f"    {index}: {format_instruction(program.instructions[index])}"
            if len(findings) > limit:
                yield f"{verdict.check}:{kind} and {len(findings) - limit} more"


def _involved(program: Program, finding: Finding) -> Iterator[int]:
    if program.instructions:
        yield from dict.fromkeys((finding.index, *finding.others))


def proof_document(
    program: Program, hardware_name: str, verdicts: Sequence[Verdict]
) -> dict[str, object]:
    """All of it as plain values."""

    def records(findings: Sequence[Finding]) -> list[dict[str, object]]:
        return [
            {
                "instruction": finding.index,
                "layer": _layer(program, finding.index),
                "sentence": finding.sentence,
                "text": {
                    str(index): format_instruction(program.instructions[index])
                    for index in _involved(program, finding)
                },
            }
            for finding in findings
        ]

    return {
        "program": program.name,
        "hardware": hardware_name,
        "checks": [
            {
                "check": verdict.check,
                "result": "wrong" if verdict.findings else _result(verdict),
                "looked_at": verdict.looked_at,
                "findings": records(verdict.findings),
                "not_proved": records(verdict.unproved),
            }
            for verdict in verdicts
        ],
        "assumed": _assumptions(verdicts),
    }


def _layer(program: Program, index: int) -> str | None:
    number = program.layer_of[index] if program.layer_of else -1
    return program.layers[number] if number >= 0 else None
