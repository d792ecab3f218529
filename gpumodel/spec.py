"""The address of software GPUs: PART[*N][?OPTION=VALUE&...][#GPU] (DESIGN section 4), where the options are
state=cold|used, vram=GIB, vbios=on|off and fault=NAME[:ARG][@GPU],NAME...

Default state `used`; `vram` makes each GPU smaller than the part is; `vbios` gives it an expansion ROM with one; a fault
without @ is on every GPU. A leading `model:` is allowed. #GPU picks one of a hive."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches

from base.errors import UsageError
from gpumodel import nvidia
from gpumodel.chips import CHIPS, HIVE_MOST, Chip
from gpumodel.faults import CATALOGUE, ActiveFault, Fault
from gpumodel.hive import Placed

STATES = ("cold", "used")
SWITCH = ("on", "off")
OPTIONS = ("state", "fault", "vram", "vbios")
SMALLEST_VRAM_GIB = 1
_SHAPE = re.compile(r"(?:model:)?([^*?#]*)(?:\*([^?#]*))?(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_FAULT = re.compile(r"([^:@]*)(?::([^@]*))?(?:@(.*))?", re.DOTALL)
_EXAMPLE = "model:mi350x*8?fault=discovery-clobbered@2"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What an address asks for. `pick`: the only GPU that is wanted, None for all."""

    chip: Chip
    count: int
    state: str
    faults: tuple[Placed, ...]
    pick: int | None
    address: str  # without #GPU, with model:

    def name_of(self, index: int) -> str:
        """The address that reaches this GPU again."""
        return f"{self.address}#{index}" if self.count > 1 else self.address


def parse(text: str) -> ModelSpec:
    """UsageError, with what was expected and seen, for anything that is not such an address."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise _wrong(text, expected=_EXAMPLE, seen=repr(text))
    part, count_text, query, pick_text = match.groups()
    chip = CHIPS.get(part)
    if chip is None:
        parts = (*CHIPS, *(other.name for other in nvidia.parts()))
        raise _wrong(text, expected=f"a part: {', '.join(parts)}", seen=_quoted(part), near=_near(part, parts))
    count = 1 if count_text is None else _number(text, "the number of GPUs", count_text, 1, HIVE_MOST)
    options = _options(text, query)
    if "vram" in options:
        size_gib = _number(text, "vram in GiB", options["vram"], SMALLEST_VRAM_GIB, chip.vram_size >> 30)
        chip = replace(chip, vram_size=size_gib << 30)
    chip = replace(chip, has_vbios=_word(text, "vbios", options.get("vbios", "off"), SWITCH) == "on")
    state = _word(text, "state", options.get("state", "used"), STATES)
    faults = _faults(text, options.get("fault"), chip, count)
    pick = None if pick_text is None else _number(text, "GPU", pick_text, 0, count - 1)
    address = "model:" + text.removeprefix("model:").partition("#")[0]
    return ModelSpec(chip, count, state, faults, pick, address)


def _options(text: str, query: str | None) -> dict[str, str]:
    options: dict[str, str] = {}
    for piece in (query or "").split("&") if query is not None else ():
        key, equals, value = piece.partition("=")
        if key not in OPTIONS or not equals:
            raise _wrong(text, expected=f"{'=..., '.join(OPTIONS)}=...", seen=_quoted(piece), near=_near(key, OPTIONS))
        if key in options:
            raise _wrong(text, expected=f"{key} once; several faults are divided by commas", seen=f"{key} twice")
        options[key] = value
    return options


def _faults(text: str, value: str | None, chip: Chip, count: int) -> tuple[Placed, ...]:
    if value is None:
        return ()
    placed: list[Placed] = []
    for piece in value.split(","):
        match = _FAULT.fullmatch(piece)
        name, argument, where = match.groups() if match else (piece, None, None)
        fault = CATALOGUE.get(name)
        if fault is None:
            raise _wrong(
                text,
                expected="a fault; `gpumend model list` and `gpumend model faults` name them",
                seen=_quoted(name),
                near=_near(name, CATALOGUE),
            )
        active = ActiveFault(fault, _argument(text, fault, argument, chip, count))
        if where is None:
            targets: Iterable[int] = range(count)
        else:
            targets = (_number(text, f"GPU of {name}", where, 0, count - 1),)
        placed += [Placed(gpu, active) for gpu in targets]
    return tuple(placed)


def _argument(text: str, fault: Fault, value: str | None, chip: Chip, count: int) -> int | str:
    argument = fault.argument
    if argument is None:
        if value is not None:
            raise _wrong(text, expected=f"{fault.name} without argument", seen=f"{fault.name}:{value}")
        return 0
    words = argument.words(chip) if argument.words else {}
    wanted = argument.default if value is None else value
    if isinstance(wanted, int):
        return wanted
    if wanted in words:
        return words[wanted]
    what = f"{argument.name} of {fault.name}"
    if argument.limit is None or (words and not wanted[:1].isdigit()):
        numbers = "" if argument.limit is None else f" or a number up to {argument.limit(chip, count)}"
        near = get_close_matches(wanted, words, n=3) or sorted(words)[:5]
        listed = ", ".join(words) if len(words) <= 20 else f"the name of one, such as {', '.join(near)}"
        raise _wrong(text, expected=f"{what}: {listed}{numbers}", seen=_quoted(wanted), near=_near(wanted, words))
    number = _number(text, what, wanted, argument.smallest, argument.limit(chip, count))
    if argument.choices and number not in argument.choices:
        allowed = ", ".join(str(choice) for choice in argument.choices)
        raise _wrong(text, expected=f"{what} one of {allowed}", seen=wanted)
    return number


def _word(text: str, what: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise _wrong(text, expected=f"{what} {' or '.join(allowed)}", seen=_quoted(value), near=_near(value, allowed))
    return value


def _number(text: str, what: str, value: str, smallest: int, largest: int) -> int:
    try:
        number = int(value, 0)
    except ValueError:
        number = smallest - 1
    if not smallest <= number <= largest or "_" in value:
        raise _wrong(text, expected=f"{what} from {smallest} to {largest}", seen=_quoted(value))
    return number


def _quoted(value: str) -> str:
    return repr(value) if value else "nothing"


def _near(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"example: {_EXAMPLE}"


def _wrong(text: str, *, expected: str, seen: str, near: str = "") -> UsageError:
    return UsageError(
        f"reading the address {text!r}", expected=expected, seen=seen, next_step=near or f"example: {_EXAMPLE}"
    )
