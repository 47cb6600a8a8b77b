"""Strict configuration: every sentence that a file can earn."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, Field

from azsim.config import json_schema, merge_documents, parse_file, split_overrides, validate
from azsim.config.document import parse_text
from azsim.errors import ConfigError
from azsim.resources import checkout_root, isa_directory, workloads_directory

_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Wheel:
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    radius_mm: Annotated[float, Field(gt=0, le=500)]
    spokes: Annotated[int, Field(ge=1, le=64)] = 32


@dataclass(frozen=True)
class Rail:
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    gauge_mm: int


@dataclass(frozen=True)
class Cart:
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: str
    kind: Literal["hand", "horse"] = "hand"
    wheels: tuple[Wheel, ...] = ()
    runs_on: Wheel | Rail | None = None
    load: str | int = ""
    code: Annotated[str, Field(pattern="^[0-9]+$", description="digits")] = "0"
    is_open: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("cart.yaml")


def problems(path: Path, text: str | bytes, *overrides: str, check: Any = None) -> list[str]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        parse_file(path, Cart, overrides, "cart", check)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


CART_KEYS = "'name', 'kind', 'wheels', 'runs_on', 'load', 'code', 'is_open', 'extra'"
ALTERNATIVES = (
    "a mapping with the keys 'radius_mm', 'spokes', or a mapping with the keys 'gauge_mm'"
)

SENTENCES = {
    "knd: hand": f"2:1: $.knd: unknown key 'knd', did you mean 'kind'? allowed: {CART_KEYS}",
    "zzz: 1": f"2:1: $.zzz: unknown key 'zzz', allowed: {CART_KEYS}",
    "kind: hand\nkind: horse": "3:1: $.kind: duplicate key 'kind', found on lines 2 and 3",
    "kind: hors": (
        "2:7: $.kind: not one of the choices, found the string 'hors', did you mean 'horse'? "
        "allowed: 'hand' or 'horse'"
    ),
    "wheels: [{radius_mm: 1e2}]": (
        "2:22: $.wheels[0].radius_mm: '1e2' is a string in YAML 1.1; write 1.0e+2 or 100; "
        "allowed: a number above 0 to 500"
    ),
    "wheels: [{radius_mm: 1e-12}]": (
        "2:22: $.wheels[0].radius_mm: '1e-12' is a string in YAML 1.1; write 1.0e-12; "
        "allowed: a number above 0 to 500"
    ),
    "wheels: [{radius_mm: 1, spokes: 1e1}]": (
        "2:33: $.wheels[0].spokes: '1e1' is a string in YAML 1.1; write 10; "
        "allowed: an integer from 1 to 64"
    ),
    'wheels: [{radius_mm: "1"}]': (
        "2:22: $.wheels[0].radius_mm: wrong type, found the string '1', "
        "allowed: a number above 0 to 500"
    ),
    "wheels: [{radius_mm: 1, spokes: 2.0}]": (
        "2:33: $.wheels[0].spokes: wrong type, found 2.0, allowed: an integer from 1 to 64"
    ),
    "wheels: [{radius_mm: 1, spokes: 65}]": (
        "2:33: $.wheels[0].spokes: out of range, found 65, allowed: an integer from 1 to 64"
    ),
    "wheels: [{radius_mm: 1, spokes: true}]": (
        "2:33: $.wheels[0].spokes: wrong type, found the boolean true, "
        "allowed: an integer from 1 to 64"
    ),
    "wheels: [{}]": ("2:10: $.wheels[0].radius_mm: missing key, allowed: a number above 0 to 500"),
    "wheels: [{radius_mn: 3}]": (
        "2:11: $.wheels[0].radius_mn: unknown key 'radius_mn', did you mean 'radius_mm'? "
        "allowed: 'radius_mm', 'spokes'"
    ),
    "wheels: 3": "2:9: $.wheels: wrong type, found 3, allowed: a list",
    "wheels: [{radius_mm: 010}]": (
        "2:22: $.wheels[0].radius_mm: '010' is octal in YAML 1.1, the number 8; write 8 or 10"
    ),
    "wheels: [{radius_mm: 1:30}]": (
        "2:22: $.wheels[0].radius_mm: '1:30' is the number 90 in YAML 1.1 (base 60); "
        'write 90, or quote it: "1:30"'
    ),
    "wheels: [{radius_mm: .inf}]": (
        "2:22: $.wheels[0].radius_mm: not a value: a number is finite, found '.inf'"
    ),
    "runs_on: {}": (
        f"2:10: $.runs_on: fits none of the alternatives, found an empty mapping, "
        f"allowed: {ALTERNATIVES}"
    ),
    "runs_on: 4": f"2:10: $.runs_on: wrong type, found 4, allowed: {ALTERNATIVES}",
    "runs_on: {gauge_mm: wide}": (
        "2:21: $.runs_on.gauge_mm: wrong type, found the string 'wide', allowed: an integer"
    ),
    "runs_on: {guage_mm: 3}": (
        "2:11: $.runs_on.guage_mm: unknown key 'guage_mm', did you mean 'gauge_mm'? "
        "allowed: 'gauge_mm'"
    ),
    "load: [1]": "2:7: $.load: wrong type, found a list with 1 item, "
    "allowed: a string, or an integer",
    "code: a1": "2:7: $.code: wrong form, found the string 'a1', allowed: digits",
    "code: 5": '2:7: $.code: wrong type, found 5, allowed: digits; quote it: "5"',
    "code: off": "2:7: $.code: 'off' is a boolean in YAML 1.1; quote it: \"off\"; allowed: digits",
    "code:": "2:6: $.code: wrong type, found nothing (null), allowed: digits",
    "is_open: maybe": (
        "2:10: $.is_open: wrong type, found the string 'maybe', allowed: true or false"
    ),
    "on: 3": (
        '2:1: $: the key on is a boolean in YAML 1.1, not a string; quote it: "on"',
        f"2:1: $.on: unknown key 'on', allowed: {CART_KEYS}",
    ),
    "<<: {load: a}": "2:1: $: merge keys '<<' are not read; write the keys out",
    "? [1]\n: 2": "2:3: $: a key that is not a scalar, allowed: a string",
    "extra: &a [*a]": "2:8: $.extra[0]: an alias that contains itself",
    "extra: {a: !!python/name:os x}": (
        "2:12: $.extra.a: the tag 'tag:yaml.org,2002:python/name:os' is not read; remove it"
    ),
}


@pytest.mark.parametrize("line", SENTENCES)
def test_sentence(path: Path, line: str) -> None:
    expected = SENTENCES[line]
    expected = [expected] if isinstance(expected, str) else list(expected)
    found = problems(path, f"name: a\n{line}\n")
    assert found[: len(expected)] == [f"cart.yaml:{sentence}" for sentence in expected]
    if "&a" not in line:
        assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "cart.yaml:1:1: $: the file is empty, allowed: a mapping"),
        ("# only a comment\n", "cart.yaml:1:1: $: the file is empty, allowed: a mapping"),
        (
            "- 1\n- 2",
            "cart.yaml:1:1: $: wrong type, found a list with 2 items, allowed: a mapping",
        ),
        ("hello", "cart.yaml:1:1: $: wrong type, found the string 'hello', allowed: a mapping"),
        (
            "a: [1\nb: 2",
            (
                "cart.yaml:2:2: not YAML: while parsing a flow sequence, "
                "did not find expected ',' or ']'"
            ),
        ),
        (
            "a: 1\n--- b",
            (
                "cart.yaml:2:1: not YAML: expected a single document in the stream, "
                "but found another document"
            ),
        ),
        (b"a: \xff\xfe", "cart.yaml: not UTF-8 text, found byte 0xff at offset 3"),
        (b"\x08\x07\x12\x00", "cart.yaml: not YAML: unacceptable character #x0008: "),
        ("[" * 50_000, "cart.yaml:1: nested deeper than 100 levels"),
        ("kind: hand", "cart.yaml:1:1: $.name: missing key, allowed: a string"),
        (
            "name: no",
            (
                "cart.yaml:1:7: $.name: 'no' is a boolean in YAML 1.1; quote it: \"no\"; "
                "allowed: a string"
            ),
        ),
    ],
)
def test_whole_file(path: Path, text: str | bytes, sentence: str) -> None:
    (found,) = problems(path, text)
    assert found.startswith(sentence)


def test_no_file(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file$"):
        parse_file(missing, Cart)
    with pytest.raises(ConfigError, match=r"is a folder, a YAML file is needed$"):
        parse_file(tmp_path, Cart)


def test_all_at_once_in_the_order_of_lines(path: Path) -> None:
    text = "kind: x\nnmae: a\nwheels:\n  - {radius_mm: 0}\n  - {radius_mm: 1, spokes: 010}\n"
    found = problems(path, text, "is_open=3")
    assert [sentence.split(": ")[0] for sentence in found] == [
        "cart.yaml:1:7",
        "cart.yaml:2:1",
        "cart.yaml:4:17",
        "cart.yaml:5:28",
        "--set is_open=3",
    ]


def test_rules_across_keys_are_asked_besides_other_errors(path: Path) -> None:
    def check(cart: Cart) -> list[tuple[tuple[str, ...], str]]:
        return [(("load",), f"too heavy, found {cart.load}"), (("kind",), "hidden by its error")]

    found = problems(path, "name: a\nload: 9\nkind: x\n", check=check)
    assert found == [
        "cart.yaml:2:7: $.load: too heavy, found 9",
        (
            "cart.yaml:3:7: $.kind: not one of the choices, found the string 'x', "
            "allowed: 'hand' or 'horse'"
        ),
    ]


def test_good_values(path: Path) -> None:
    path.write_text(
        "name: 'no'\nwheels: [{radius_mm: 3}, {radius_mm: 1.0e+2, spokes: 1_6}]\n"
        "load: 2020-01-01\nis_open: true\nextra: {a: [1, {b: null}]}\nruns_on: {gauge_mm: 0x10}\n"
    )
    cart = parse_file(path, Cart)
    assert cart == Cart(
        name="no",
        wheels=(Wheel(3.0), Wheel(100.0, 16)),
        load="2020-01-01",
        is_open=True,
        extra={"a": [1, {"b": None}]},
        runs_on=Rail(16),
    )
    assert isinstance(cart.wheels[0].radius_mm, float)


def test_aliases_are_read(path: Path) -> None:
    path.write_text("name: a\nwheels: [&w {radius_mm: 3}, *w]\n")
    assert parse_file(path, Cart).wheels == (Wheel(3.0), Wheel(3.0))


@pytest.mark.slow
def test_a_bomb_of_aliases_is_refused(path: Path) -> None:
    levels = "".join(f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    (found,) = problems(path, f"name: a\nextra:\n  a0: &a0 [1]\n{levels}")
    assert found.endswith("more than 1000000 values in one file")


def test_overrides(path: Path) -> None:
    path.write_text("name: a\nwheels: [{radius_mm: 3}]\n")
    cart = parse_file(
        path,
        Cart,
        ("cart.wheels.0.spokes=7", "wheels[0].radius_mm=2.5", "runs_on.gauge_mm=9", "name='x=y'"),
        "cart",
    )
    assert cart == Cart("x=y", wheels=(Wheel(2.5, 7),), runs_on=Rail(9))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("name", "not an override, allowed: PATH=VALUE"),
        ("=3", "not an override, allowed: PATH=VALUE"),
        ("a..b=3", "not an override, allowed: PATH=VALUE"),
        ("wheels.3.spokes=1", "$.wheels: no such item, found '3', allowed: 0 to 0"),
        (
            "name.x=1",
            "$.name: 'x' cannot be set inside, found the string 'a', allowed: a mapping",
        ),
        (
            "load=[",
            "not YAML: while parsing a flow node, did not find expected node content",
        ),
        (
            "wheels.0.radius_mm=1e1",
            (
                "$.wheels[0].radius_mm: '1e1' is a string in YAML 1.1; write 1.0e+1 or 10; "
                "allowed: a number above 0 to 500"
            ),
        ),
        (
            "runs_on={gauge: 1}",
            "$.runs_on.gauge: unknown key 'gauge', did you mean 'gauge_mm'? allowed: 'gauge_mm'",
        ),
        ("wheel.x=1", f"$.wheel: unknown key 'wheel', did you mean 'wheels'? allowed: {CART_KEYS}"),
    ],
)
def test_wrong_override(path: Path, override: str, sentence: str) -> None:
    text = "name: a\nwheels: [{radius_mm: 3}]\n"
    assert problems(path, text, override) == [f"--set {override}: {sentence}"]


def test_split_overrides() -> None:
    texts = ("hardware.a=1", "workload.b.c=2", "hardware.d=x.y=z")
    assert split_overrides(texts, ("workload", "hardware")) == {
        "workload": ("workload.b.c=2",),
        "hardware": ("hardware.a=1", "hardware.d=x.y=z"),
    }
    with pytest.raises(ConfigError) as caught:
        split_overrides(("hardwre.a=1", "clock_hz=3"), ("workload", "hardware"))
    allowed = "allowed: workload.PATH=VALUE or hardware.PATH=VALUE"
    assert caught.value.problems == (
        f"--set hardwre.a=1: unknown start 'hardwre', did you mean 'hardware'? {allowed}",
        f"--set clock_hz=3: unknown start 'clock_hz', {allowed}",
    )


def test_merged_documents_keep_every_place() -> None:
    base = parse_text("a: {b: 1, c: [1, 2]}\nd: 3\n", "base")
    top = parse_text("# above\na: {c: [4]}\n", "top")
    merged = merge_documents(base, top)
    assert merged.data == {"a": {"b": 1, "c": [4]}, "d": 3}
    places = {path: str(place) for path, place in merged.places.items()}
    assert places[("a", "b")] == "base:1:8"
    assert places[("a", "c", 0)] == "top:2:9"
    assert places[("d",)] == "base:2:4"
    assert ("a", "c", 1) not in places


def test_json_schema_names_every_key() -> None:
    schema = json_schema(Cart)
    assert set(schema["properties"]) == {entry.name for entry in fields(Cart)}
    assert schema["additionalProperties"] is False


@given(
    st.text(max_size=60)
    | st.text("ab:-[]{},&*#!|>'\"% \n\t01e.", max_size=60)
    | st.lists(st.sampled_from(list(SENTENCES)), max_size=4).map("\n".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    sentences: tuple[str, ...] = ("x: fine",)
    try:
        validate(parse_text(text, "x"), Cart)
    except ConfigError as error:
        sentences = error.problems
    assert sentences
    assert all(sentence.startswith("x:") for sentence in sentences)


def test_resources_of_the_checkout() -> None:
    root = checkout_root()
    assert root is not None
    assert isa_directory() == root / "isa"
    assert (workloads_directory() / "vad_silero.yaml").is_file()


def test_resources_of_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import azsim.resources

    package = tmp_path / "site" / "azsim"
    (package / "_data").mkdir(parents=True)
    monkeypatch.setattr(azsim.resources, "_PACKAGE", package)
    assert checkout_root() is None
    assert isa_directory() == package / "_data" / "isa"
    assert workloads_directory() == package / "_data" / "workloads"


def test_module_is_light() -> None:
    assert "azsim.config" in sys.modules
    import azsim.config as config

    assert not any(name in vars(config) for name in ("pydantic", "numpy"))
