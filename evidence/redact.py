"""Taking out what names a machine or its people: host names, users, serials, IPv4, IPv6 and MAC addresses.

Each gets a pseudonym (`redacted-mac-2`) that is the same wherever it turns up in one bundle, however it was spelled, so that
two lines about the same thing still match. What is known by value (`learn`) is found in any text; addresses, home folders
and serial numbers of devices are found by their form too. Texts may change their length; binaries keep theirs: there what
is known is overwritten with `x`, and serial numbers as 8-byte numbers with zeros.

Not redacted: loopback and unspecified addresses, `root`, `localhost`, PCI addresses. A dotted version of four small
numbers looks like an IPv4 address and is taken for one: too much is better than too little."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

KINDS = ("host", "user", "serial", "ipv4", "ipv6", "mac")
_TOO_COMMON = frozenset(
    {"localhost", "localdomain", "root", "nobody", "none", "(none)", "unknown", "default", "n/a", "redacted"}
)
_LEAST_LETTERS = 3
_LEAST_BINARY_BYTES = 6

_MAC_SEPARATORS, _IPV4_DOTS = 5, 3
_SERIAL_WORDS = ("serial", "s/n", "uuid")
_MAC = re.compile(
    r"(?<![0-9a-f])(?:[0-9a-f]{2}(?::[0-9a-f]{2}){5,31}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5,31})(?![0-9a-f])", re.I
)
_INTERFACE = re.compile(r"(?<=enx)[0-9a-f]{12}(?![0-9a-f])", re.I)  # systemd names network cards by their MAC
# A whole run of such letters with two colons in it. Possessive, and only from where a run begins: linear in any text.
_IPV6 = re.compile(r"(?<![0-9a-f:.])[0-9a-f.]*+:[0-9a-f.]*+:[0-9a-f:.]*+", re.I)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
_HOME = re.compile(r"(?<=/home/)[^/\s\"'\\:;,<>()\[\]{}]+")
_SERIAL = re.compile(
    r"\b(?P<head>serial[ _-]?(?:number|no)?\.?|s/n|(?:part)?uuid)"
    r"(?P<gap>[\"']?\s*[:=]\s*[\"']?)(?P<value>[0-9a-z][\w.-]{4,63})",
    re.I,
)


@dataclass(slots=True)
class Redactor:
    """One bundle's pseudonyms. `on` False: everything passes as it is, and nothing is counted."""

    on: bool = True
    complete: bool = True  # False: some names of this machine could not be learned
    counts: Counter[str] = field(default_factory=Counter)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _known: dict[str, tuple[str, str]] = field(default_factory=dict)  # spelling: (kind, key)
    _numbers: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    _pattern: re.Pattern[str] | None = None

    def learn(self, kind: str, value: str) -> None:
        """Something that must not leave this machine; too short and too common values are left alone."""
        text = value.strip().strip("\0")
        if len(text) < _LEAST_LETTERS or text.lower() in _TOO_COMMON or not re.search(r"[a-z1-9]", text, re.I):
            return
        key = _key(kind, text)
        for spelling in _spellings(kind, text):
            self._known.setdefault(spelling.lower(), (kind, key))
        if kind == "serial" and re.fullmatch(r"(?:0x)?[0-9a-f]{9,16}", text, re.I):
            number = int(text, 16)
            for order in ("little", "big"):
                self._numbers[number.to_bytes(8, order)] = (kind, key)
        self._pattern = None

    def text(self, text: str) -> str:
        """`text` with pseudonyms."""
        if not self.on:
            return text
        known = self._known_pattern()
        if known is not None:
            text = known.sub(lambda match: self._pseudonym(*self._known[match[0].lower()]), text)
        return "".join(self._line(line) for line in text.splitlines(keepends=True))

    def _line(self, line: str) -> str:
        """By form. Counting letters first is what makes a log of megabytes a matter of a second."""
        lowered = line.lower()
        if any(word in lowered for word in _SERIAL_WORDS):
            line = _SERIAL.sub(self._serial, line)
        if "enx" in lowered:
            line = _INTERFACE.sub(self._found("mac"), line)
        colons = line.count(":")
        if colons >= _MAC_SEPARATORS or line.count("-") >= _MAC_SEPARATORS:
            line = _MAC.sub(self._found("mac"), line)
        if colons > 1:
            line = _IPV6.sub(self._ipv6, line)
        if line.count(".") >= _IPV4_DOTS:
            line = _IPV4.sub(self._ipv4, line)
        if "/home/" in line:
            line = _HOME.sub(self._user, line)
        return line

    def data(self, data: bytes, *, binary: bool) -> bytes:
        """The bytes of one file. A text may hold bytes that are no UTF-8; they stay."""
        if not self.on:
            return data
        if not binary:
            return self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        found = data.decode("latin-1")
        for spelling, (kind, key) in self._known.items():
            if len(spelling) >= _LEAST_BINARY_BYTES:
                found = re.sub(re.escape(spelling), self._blot(kind, key), found, flags=re.IGNORECASE)
        data = found.encode("latin-1")
        for number, (kind, key) in self._numbers.items():
            if number in data:
                self._pseudonym(kind, key)
                data = data.replace(number, bytes(len(number)))
        return data

    def value(self, value: Any) -> Any:
        """Plain JSON with its strings redacted; keys are ours and stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def summary(self) -> dict[str, Any]:
        """For the manifest: how many of each kind, and how often they were replaced."""
        kinds = Counter(kind for kind, _ in self._names)
        rows = [{"kind": kind, "distinct": kinds[kind], "replaced": self.counts[kind]} for kind in KINDS if kinds[kind]]
        return {"on": self.on, "complete": self.on and self.complete, "redacted": rows}

    # ---------------------------------------------------------------- inside

    def _known_pattern(self) -> re.Pattern[str] | None:
        if self._pattern is None and self._known:
            self._pattern = re.compile(rf"(?<![0-9a-z])(?:{_any_of(self._known)})(?![0-9a-z])", re.IGNORECASE)
        return self._pattern

    def _pseudonym(self, kind: str, key: str) -> str:
        self.counts[kind] += 1
        name = self._names.get((kind, key))
        if name is None:
            number = 1 + sum(1 for known, _ in self._names if known == kind)
            name = self._names[kind, key] = f"redacted-{kind}-{number}"
        return name

    def _blot(self, kind: str, key: str) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            self._pseudonym(kind, key)
            return "x" * len(match[0])

        return replace

    def _found(self, kind: str) -> Callable[[re.Match[str]], str]:
        return lambda match: self._pseudonym(kind, _key(kind, match[0]))

    def _user(self, match: re.Match[str]) -> str:
        return match[0] if match[0].startswith("redacted-") else self._pseudonym("user", _key("user", match[0]))

    def _ipv4(self, match: re.Match[str]) -> str:
        key = _ipv4_key(match[0])
        return match[0] if key is None else self._pseudonym("ipv4", key)

    def _ipv6(self, match: re.Match[str]) -> str:
        """An address inside a run of hex digits, colons and dots, without the ends of words and sentences that touch it."""
        found, text = match[0], match.string
        core = found.strip(".")
        if match.start() and text[match.start() - 1].isalnum():  # the d of std::
            core = ":" + core.partition(":")[2]
        if match.end() < len(text) and text[match.end()].isalnum():
            core = core.rpartition(":")[0] + ":"
        for candidate in dict.fromkeys((core, core.removesuffix(":"), core.removeprefix(":"), core.strip(":"))):
            key = _ipv6_key(candidate)
            if key is not None:
                return found.replace(candidate, self._pseudonym("ipv6", key), 1) if key else found
        return found

    def _serial(self, match: re.Match[str]) -> str:
        value = match["value"]
        if value.startswith("redacted-") or value.lower() in _TOO_COMMON:
            return match[0]
        return f"{match['head']}{match['gap']}{self._pseudonym('serial', _key('serial', value))}"


def _any_of(words: Iterable[str]) -> str:
    """An expression for any of them, the longest first. By first letter, so that hundreds of users do not cost hundreds of
    comparisons at each word of a log."""
    by_letter: dict[str, list[str]] = {}
    for word in sorted(words, key=lambda item: (-len(item), item)):
        by_letter.setdefault(word[0], []).append(re.escape(word[1:]))
    return "|".join(f"{re.escape(letter)}(?:{'|'.join(rest)})" for letter, rest in by_letter.items())


@functools.lru_cache(maxsize=4096)
def _ipv4_key(text: str) -> str | None:
    """None: no address, or one that everybody has."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return None
    common = address.is_loopback or address.is_unspecified or address == ipaddress.IPv4Address("255.255.255.255")
    return None if common else str(address)


@functools.lru_cache(maxsize=4096)
def _ipv6_key(text: str) -> str | None:
    """None: no address; "": one that everybody has."""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    return "" if address.is_loopback or address.is_unspecified else str(address)


def _key(kind: str, text: str) -> str:
    """What two spellings of one thing have in common."""
    lowered = text.lower()
    if kind == "mac":
        return re.sub(r"[^0-9a-f]", "", lowered)
    if kind == "serial":
        return lowered.removeprefix("gpu-").removeprefix("0x").lstrip("0")
    return lowered.partition(".")[0] if kind == "host" else lowered


def _spellings(kind: str, text: str) -> set[str]:
    spellings = {text}
    if kind == "host":
        spellings.add(text.partition(".")[0])
    if kind == "mac":
        bare = _key(kind, text)
        pairs = [bare[at : at + 2] for at in range(0, len(bare), 2)]
        spellings |= {bare, ":".join(pairs), "-".join(pairs)}
    if kind == "serial" and re.fullmatch(r"(?:0x)?[0-9a-f]{9,16}", text, re.IGNORECASE):
        number = int(text, 16)
        spellings |= {f"{number:x}", f"{number:016x}", f"0x{number:x}", f"0x{number:016x}", str(number)}
    return {item for item in spellings if len(item) >= _LEAST_LETTERS and item.lower() not in _TOO_COMMON}
