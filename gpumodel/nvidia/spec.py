"""The address of modelled NVIDIA GPUs: PART[*N][?OPTION=VALUE&...][#GPU], where the options are
driver=VERSION|none (state=cold is the same as driver=none: just switched on) and fault=NAME[:NUMBER][@GPU],NAME..."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from base.errors import UsageError
from gpumodel.nvidia.chips import CHIPS, MOST, NvChip
from gpumodel.nvidia.faults import FAULTS, NvFault
from gpumodel.nvidia.machine import DEFAULT_DRIVER

OPTIONS = ("state", "driver", "fault")
_SHAPE = re.compile(r"(?:model:)?([^*?#]*)(?:\*([^?#]*))?(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_FAULT = re.compile(r"([^:@]*)(?::([^@]*))?(?:@(.*))?", re.DOTALL)
_DRIVER = re.compile(r"\d{3}\.\d{1,3}(?:\.\d{1,2})?\Z")
_EXAMPLE = "model:h200*8?fault=gsp-dead@2"


@dataclass(frozen=True, slots=True)
class NvPlaced:
    """A fault on one GPU."""

    gpu: int
    fault: NvFault
    value: int


@dataclass(frozen=True, slots=True)
class NvSpec:
    """What an address asks for. `driver`: "" for none; `pick`: the only GPU that is wanted, None for all."""

    chip: NvChip
    count: int
    driver: str
    faults: tuple[NvPlaced, ...]
    pick: int | None
    address: str

    def name_of(self, index: int) -> str:
        """The address that reaches this GPU again."""
        return f"{self.address}#{index}" if self.count > 1 else self.address


def names_nvidia(text: str) -> bool:
    """Whether a model's address names one of NVIDIA's parts."""
    match = _SHAPE.fullmatch(text)
    return match is not None and match[1] in CHIPS


def parse(text: str) -> NvSpec:
    """UsageError, with what was expected and seen, for anything that is not such an address."""
    match = _SHAPE.fullmatch(text)
    chip = CHIPS.get(match[1]) if match else None
    if match is None or chip is None:
        raise _wrong(text, f"a part: {', '.join(CHIPS)}", match[1] if match else text, CHIPS)
    _, count_text, query, pick_text = match.groups()
    count = 1 if count_text is None else _number(text, "the number of GPUs", count_text, 1, MOST)
    options = _options(text, query)
    driver = _driver(text, options)
    faults = _faults(text, options.get("fault"), chip, count, driver)
    pick = None if pick_text is None else _number(text, "GPU", pick_text, 0, count - 1)
    return NvSpec(chip, count, driver, faults, pick, "model:" + text.removeprefix("model:").partition("#")[0])


def _options(text: str, query: str | None) -> dict[str, str]:
    options: dict[str, str] = {}
    for piece in query.split("&") if query is not None else ():
        key, equals, value = piece.partition("=")
        if key not in OPTIONS or not equals:
            raise _wrong(text, f"{'=..., '.join(OPTIONS)}=...", piece, OPTIONS)
        if key in options:
            raise _wrong(text, f"{key} once; several faults are divided by commas", f"{key} twice")
        options[key] = value
    return options


def _driver(text: str, options: dict[str, str]) -> str:
    state, driver = options.get("state", "used"), options.get("driver")
    if state not in ("cold", "used"):
        raise _wrong(text, "state cold or used", state, ("cold", "used"))
    if state == "cold" and driver not in (None, "none"):
        raise _wrong(text, "state=cold without a driver: one has started it already", f"driver={driver}")
    if state == "cold" or driver == "none":
        return ""
    if driver is not None and not _DRIVER.match(driver):
        raise _wrong(text, f"driver=none or a version such as {DEFAULT_DRIVER}", driver)
    return driver or DEFAULT_DRIVER


def _faults(text: str, value: str | None, chip: NvChip, count: int, driver: str) -> tuple[NvPlaced, ...]:
    placed: list[NvPlaced] = []
    for piece in value.split(",") if value is not None else ():
        match = _FAULT.fullmatch(piece)
        name, argument, where = match.groups() if match else (piece, None, None)
        fault = FAULTS.get(name)
        if fault is None:
            raise _wrong(text, f"a fault: {', '.join(FAULTS)}", name, FAULTS)
        _check_fits(text, fault, chip, driver)
        number = _argument(text, fault, argument, chip)
        targets: Iterable[int] = range(count)
        if where is not None:
            targets = (_number(text, f"GPU of {name}", where, 0, count - 1),)
        placed += [NvPlaced(gpu, fault, number) for gpu in targets]
    return tuple(placed)


def _check_fits(text: str, fault: NvFault, chip: NvChip, driver: str) -> None:
    if not fault.fits(chip):
        raise _wrong(text, f"a part that can have {fault.name}", f"{chip.name}, which has no such thing")
    if fault.needs == "driver" and not driver:
        raise _wrong(text, f"a driver for {fault.name}", "driver=none")
    if fault.needs == "bare" and driver:
        raise _wrong(text, f"{fault.name} with driver=none: no driver takes such a GPU", f"driver={driver}")


def _argument(text: str, fault: NvFault, value: str | None, chip: NvChip) -> int:
    argument = fault.argument
    if argument is None:
        if value is not None:
            raise _wrong(text, f"{fault.name} without argument", f"{fault.name}:{value}")
        return 0
    if value is not None:
        return _number(text, f"{argument.name} of {fault.name}", value, argument.smallest, argument.most(chip))
    if argument.default is None:
        raise _wrong(text, f"{fault.name}:{argument.name.upper()}", f"{fault.name} alone")
    return argument.default


def _number(text: str, what: str, value: str, smallest: int, largest: int) -> int:
    number = int(value) if value.isascii() and value.isdigit() else smallest - 1
    if not smallest <= number <= largest:
        raise _wrong(text, f"{what} from {smallest} to {largest}", value)
    return number


def _wrong(text: str, expected: str, seen: str, near: Iterable[str] = ()) -> UsageError:
    close = get_close_matches(seen, list(near), n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"example: {_EXAMPLE}"
    return UsageError(f"reading the address {text!r}", expected=expected, seen=seen or "nothing", next_step=hint)
