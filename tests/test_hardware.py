"""Hardware presets and files; tests over the presets loop over the folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from azsim.codecs import block_decode_cycles, codec_names, encode_block
from azsim.errors import ConfigError
from azsim.hardware import file_schema, load_hardware, preset_names, reference
from azsim.hardware.description import structural_keys
from azsim.machine.engines.mac import peak_macs_per_cycle

PRESETS = Path(__file__).parent.parent / "azsim" / "hardware" / "presets"


def problems(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_hardware(path, overrides)
    return [sentence.removeprefix(f"{path}:") for sentence in caught.value.problems]


def test_presets() -> None:
    assert {"az1", "az1_lite", "az2", "dense_npu", "eie", "ethos_u55"} <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_preset_is_called_like_its_file_and_states_its_source(name: str) -> None:
    hardware = load_hardware(name)
    assert hardware.name == name
    assert "assumption" in hardware.source
    assert set(hardware.decoder.codecs) <= set(codec_names())


@pytest.mark.parametrize("name", preset_names())
def test_every_number_of_a_preset_says_where_it_comes_from(name: str) -> None:
    in_source = False
    for line in (PRESETS / f"{name}.yaml").read_text().splitlines():
        in_source = line.startswith("source:") or (in_source and line.startswith("  "))
        _, colon, value = line.partition(":")
        if colon and value.strip() and not in_source and not line.startswith(("#", "name", "ext")):
            assert "  #" in line or value.strip().startswith("#"), line


def test_the_tables_say_what_each_choice_allows() -> None:
    rows = [line.split(" | ") for line in reference.tables().splitlines()]
    allowed = {row[0].strip("| `"): row[3] for row in rows if len(row) == 5}
    assert allowed["mac.dataflow"] == "`inner`, `outer`"
    assert allowed["mac.zero_skip"] == "`none`, `weights`, `activations`, `both`"
    assert allowed["decoder.at"] == "`fill`, `read`"
    assert allowed["mac.lanes"] == "1 to 4,096"
    assert [key for key, found in allowed.items() if found == "names of codecs"] == [
        "decoder.codecs"
    ]


def test_az1_lite_has_to_stream_the_speech_model() -> None:
    assert (
        load_hardware("az1_lite").weight_sram.bytes
        < 308_224
        < load_hardware("az1").weight_sram.bytes
    )


def test_dense_npu_differs_from_az1_only_in_what_zeros_save() -> None:
    az1, dense = load_hardware("az1"), load_hardware("dense_npu")
    assert dense.decoder.codecs == ("raw",)
    assert dense.mac == replace(az1.mac, window=az1.mac.macs_per_lane, zero_skip="none")
    assert dense == replace(
        az1, name="dense_npu", source=dense.source, decoder=dense.decoder, mac=dense.mac
    )


def test_eie_is_what_its_paper_says() -> None:
    eie = load_hardware("eie")
    assert (eie.clock_hz, eie.mac.lanes, eie.mac.queue_depth) == (800_000_000, 64, 8)
    assert (eie.decoder.at, eie.mac.dataflow, eie.mac.zero_skip) == ("read", "outer", "both")
    assert peak_macs_per_cycle(eie.mac, 8, 8, at_read=True) == 64  # 102 Gop/s at 800 MHz
    assert eie.weight_sram.bytes == 64 * (128 + 32) * 1024


def test_ethos_u55_is_what_arm_publishes() -> None:
    chip = load_hardware("ethos_u55")
    assert peak_macs_per_cycle(chip.mac, 8, 8) == 256
    assert peak_macs_per_cycle(chip.mac, 8, 16) == 128
    assert chip.dram.bytes_per_s == 8 * chip.clock_hz // 8
    assert chip.dram.latency_ns == 64e9 / chip.clock_hz
    for lanes, products in ((16, 128), (8, 64), (4, 32)):
        smaller = load_hardware("ethos_u55", (f"mac.lanes={lanes}",))
        assert peak_macs_per_cycle(smaller.mac, 8, 8) == products


@pytest.mark.parametrize(("zeros", "least", "most"), [(0.5, 8, 14), (0.9, 30, 32)])
def test_ethos_u55_decodes_at_arm_s_rate(zeros: float, least: int, most: int) -> None:
    """8 weights a cycle at up to 50 % zeros and 32 from 90 % on; more where codes are short."""
    rng = np.random.default_rng(0)
    codes = np.clip(np.rint(rng.laplace(0, 12, (128, 512))), -127, 127)
    codes[rng.random(codes.shape) < zeros] = 0
    block = encode_block("rice", codes.astype(np.int8), 8, columns=512)
    chip = load_hardware("ethos_u55")
    bus_bits, port_codes = (
        8 * chip.decoder.bus_bytes_per_cycle,
        chip.weight_sram.write_bytes_per_cycle,
    )
    cycles = block_decode_cycles(block, chip.decoder.lanes, bus_bits, port_codes)
    assert least <= codes.size / cycles <= most


def test_decode_at_read_needs_an_array_that_can(tmp_path: Path) -> None:
    assert problems(tmp_path, "extends: az1\ndecoder: {at: read}\n") == [
        "2:15: $.decoder.at: 'read' needs mac.dataflow 'outer', found 'inner'"
    ]
    text = "extends: eie\nmac: {zero_skip: activations}\n"
    (sentence,) = problems(tmp_path, text)
    assert sentence.endswith(
        "$.decoder.at: 'read' needs mac.zero_skip 'weights' or 'both', as zero weights are in no "
        "block; found 'activations'"
    )


def test_a_file_that_extends_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text("extends: az1_lite\nname: mine\nmac: {lanes: 3}\n")
    chip, base = load_hardware(path), load_hardware("az1_lite")
    assert chip == replace(base, name="mine", mac=replace(base.mac, lanes=3))


def test_overrides() -> None:
    chip = load_hardware("az1", ("hardware.clock_hz=1000000", "dram.latency_ns=1.5"))
    assert chip.clock_hz == 1_000_000
    assert chip.dram.latency_ns == 1.5
    with pytest.raises(ConfigError) as caught:
        load_hardware("az1", ("hardware.clock_hz=1e6", "mac.lane=3", "mac.zero_skip=off"))
    assert caught.value.problems == (
        (
            "--set hardware.clock_hz=1e6: $.clock_hz: '1e6' is a string in YAML 1.1; "
            "write 1000000; allowed: an integer from 1000 to 100000000000"
        ),
        (
            "--set mac.lane=3: $.mac.lane: unknown key 'lane', did you mean 'lanes'? allowed: "
            "'dataflow', 'lanes', 'macs_per_lane', 'window', 'queue_depth', 'zero_skip', "
            "'accumulators', 'drain_lanes', 'pipeline_cycles'"
        ),
        (
            "--set mac.zero_skip=off: $.mac.zero_skip: not one of the choices, found the boolean "
            "false, allowed: 'none' or 'weights' or 'activations' or 'both'"
        ),
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "dram: {burst_bytes: 48}",
            (
                "2:21: $.dram.burst_bytes: not a power of two, found 48, "
                "allowed: 8, 16, 32 and so on to 4096"
            ),
        ),
        (
            "dram: {row_bytes: 1000}",
            (
                "2:19: $.dram.row_bytes: not whole bursts, found 1000, "
                "allowed: a multiple of burst_bytes (64)"
            ),
        ),
        (
            "dram: {refresh_ns: 3900}",
            (
                "2:20: $.dram.refresh_ns: refresh never ends, found 3900, "
                "allowed: less than refresh_interval_ns (3900)"
            ),
        ),
        (
            "mac: {window: 3}",
            "2:15: $.mac.window: window too small, found 3, allowed: at least macs_per_lane (4)",
        ),
        (
            "decoder: {codecs: [raw, bitmp]}",
            (
                "2:25: $.decoder.codecs[1]: unknown codec 'bitmp', did you mean 'bitmap'? "
                f"allowed: {', '.join(codec_names())}"
            ),
        ),
        (
            "decoder: {codecs: [raw, raw]}",
            "2:25: $.decoder.codecs[1]: codec 'raw' is listed twice",
        ),
        (
            "decoder: {codecs: [bitmap]}",
            "2:19: $.decoder.codecs: 'raw' is missing, found bitmap; every chip reads raw codes",
        ),
        (
            "weight_sram: {bytes: 0}",
            (
                "2:22: $.weight_sram.bytes: out of range, found 0, "
                "allowed: an integer from 1 to 4294967296"
            ),
        ),
        (
            "activation_sram: 65536",
            (
                "2:18: $.activation_sram: wrong type, found 65536, "
                "allowed: a mapping with the keys 'bytes'"
            ),
        ),
    ],
)
def test_rules(tmp_path: Path, line: str, sentence: str) -> None:
    assert problems(tmp_path, f"extends: az1\n{line}\nname: x\n") == [sentence]


def test_unknown_base_and_the_other_errors_of_the_file(tmp_path: Path) -> None:
    assert problems(tmp_path, "extends: az9\nname: x\nclock_hz: 1\n") == [
        (
            "1:10: $.extends: unknown hardware 'az9', did you mean 'az2'? "
            f"allowed: {', '.join(preset_names())}"
        ),
        "3:11: $.clock_hz: out of range, found 1, allowed: an integer from 1000 to 100000000000",
    ]
    assert problems(tmp_path, "extends: 3\n") == [
        f"1:10: $.extends: wrong type, found 3, allowed: {', '.join(preset_names())}"
    ]


def test_unknown_names() -> None:
    names = ", ".join(preset_names())
    with pytest.raises(ConfigError) as caught:
        load_hardware("az_1")
    assert str(caught.value) == (
        f"unknown hardware 'az_1', did you mean 'az1'? allowed: {names}, or a .yaml file"
    )
    with pytest.raises(ConfigError, match=r"^chips/none\.yaml: no such file$"):
        load_hardware("chips/none.yaml")


def test_structural_keys() -> None:
    assert structural_keys() == (
        "decoder.codecs",
        "decoder.at",
        "weight_sram.bytes",
        "activation_sram.bytes",
        "mac.accumulators",
    )


def test_schema_for_editors() -> None:
    schema = file_schema()
    assert schema["properties"]["extends"]["enum"] == list(preset_names())
    assert "required" not in schema
    assert schema["$defs"]["Dram"]["properties"]["burst_bytes"]["maximum"] == 4096
