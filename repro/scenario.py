"""A scenario: what is done again and again, what is watched, what counts as reproduced, and how to put the machine
back.

Read from YAML (`yamlfile.py`), checked against `scenario.schema.json`, then against itself: patterns compile, names
that are used are there, parameters lie within their bounds. Every error has line, column and key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from base.errors import UsageError
from repro.schema import check, scenario_schema
from repro.yamlfile import Node, Scalar, ScenarioError, fill, load, parse

USERSPACE, DRIVER = "userspace", "driver"
REPRODUCED, COUNT = "reproduced", "count"
ENDINGS = ("failed", "unverified", "refused")
MAX_PATTERN_GROUPS = 20


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that the command line may set (`-p name=value`). `minimum`, `maximum`, `choices`: None, any."""

    name: str
    default: Scalar
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Scalar, ...] = ()

    @property
    def range_words(self) -> str:
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(type(self.default), "text")
        if self.minimum is None and self.maximum is None:
            return kind
        return f"{kind}, {_bound(self.minimum)} to {_bound(self.maximum)}"


@dataclass(frozen=True, slots=True)
class Action:
    """One step of an iteration. `settings`: the keys of its module; `duration_s` None: the module's own limit."""

    name: str
    module: str
    device: str | int = "all"
    parallel: bool = True
    count: int = 1
    duration_s: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be so before anything is done. `driver`: `none` bound, `amdgpu` bound, or the module `unloaded`."""

    driver: str = "none"
    holders: str = "none"
    root: bool = True
    hive: bool = False
    gpus: int = 1
    kernel: str = ""
    firmware: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that counts as reproduced: (`finding`, glob), (`action`, name), (`kernel_log`, name of a pattern),
    (`devcoredump`, True), (`spread`, percent), (`throttled`, True)."""

    kind: str
    value: Any

    @property
    def words(self) -> str:
        return {
            "finding": f"a GPU shows {self.value} after an iteration, and did not before the run",
            "action": f"the action {self.value} fails",
            "kernel_log": f"the kernel's log shows {self.value}",
            "devcoredump": "the driver writes a core dump",
            "spread": f"times of the same work lie more than {self.value} % of their median apart",
            "throttled": "the power firmware counts time in which it throttled",
        }[self.kind]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A model on which it reproduces. `iteration`: at which, None where it has no number."""

    model: str
    fault: str
    iteration: int | None = None
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything of one scenario, its parameters put in. `text`: the file as it was read; `values`: of all
    parameters."""

    name: str
    shows: str
    details: str
    source: str
    parts: tuple[str, ...]
    through: str
    needs: Needs
    destroys: str
    parameters: tuple[Parameter, ...]
    values: Mapping[str, Scalar]
    count: int
    duration_s: float | None
    pause_s: float
    actions: tuple[Action, ...]
    watch: tuple[str, ...]
    kernel_log: Mapping[str, str]
    stop_after: str
    stop_failures: int
    reproduced: tuple[Condition, ...]
    restore: tuple[Action, ...]
    put_back: str
    component: str
    rehearse: Rehearsal | None
    file: str
    text: str

    @property
    def suits_all(self) -> bool:
        return "all" in self.parts

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name, "shows": self.shows, "details": self.details, "source": self.source,
            "parts": list(self.parts), "through": self.through, "destroys": self.destroys,
            "needs": {name: getattr(self.needs, name) for name in Needs.__dataclass_fields__},
            "parameters": [
                {
                    "name": one.name, "value": self.values[one.name], "default": one.default, "range": one.range_words,
                    "help": one.help,
                }
                for one in self.parameters
            ],
            "count": self.count, "duration_s": self.duration_s, "pause_s": self.pause_s,
            "actions": [action_dict(one) for one in self.actions], "watch": list(self.watch),
            "kernel_log": dict(self.kernel_log), "stop_after": self.stop_after, "stop_failures": self.stop_failures,
            "reproduced": [{one.kind: one.value} for one in self.reproduced],
            "restore": [action_dict(one) for one in self.restore], "put_back": self.put_back, "component": self.component,
            "rehearse": None if self.rehearse is None else {
                name: getattr(self.rehearse, name) for name in Rehearsal.__dataclass_fields__
            },
            "file": self.file,
        }  # fmt: skip


def action_dict(action: Action) -> dict[str, Any]:
    body = {"name": action.name, "module": action.module, "device": action.device, "parallel": action.parallel}
    return body | {"count": action.count, "duration_s": action.duration_s, **action.settings}


# ---------------------------------------------------------------- where they are


def shipped() -> list[str]:
    """The names of the scenarios that come with gpumend."""
    folder = resources.files("repro").joinpath("scenarios")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read(name: str, given: Sequence[str] = ()) -> Scenario:
    """A scenario by its name, or by its file (`x.yaml`, or a path with /), with parameters `NAME=VALUE`.

    Raises UsageError (no such scenario or parameter), ScenarioError (the file is wrong), and what opening a file can
    raise."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = Path(name)
        node = load(path)
        return build(node, path.read_text("utf-8"), given)
    if name not in shipped():
        raise _no_such(name)
    text = resources.files("repro").joinpath("scenarios").joinpath(f"{name}.yaml").read_text("utf-8")
    return build(parse(text, f"{name}.yaml"), text, given)


def _no_such(name: str) -> UsageError:
    from difflib import get_close_matches

    close = get_close_matches(name, shipped(), n=2)
    return UsageError(
        f"looking for the scenario {name!r}",
        expected=f"one of {', '.join(shipped())}; or a file: ./mine.yaml",
        seen=name,
        next_step=f"did you mean {' or '.join(close)}?" if close else "gpumend repro list",
    )


# ---------------------------------------------------------------- from nodes


def build(node: Node, text: str, given: Sequence[str] = ()) -> Scenario:
    """Check a file's nodes and make the scenario of them."""
    assert isinstance(node.value, dict), "the loader gives mappings only"
    schema = scenario_schema()
    # The parameters first: all the rest may name them.
    parameters: tuple[Parameter, ...] = ()
    if "parameters" in node.value:
        check(node.value["parameters"], {**schema["properties"]["parameters"], "$defs": schema["$defs"]})
        parameters = _parameters(node.value["parameters"])
    values = _values(parameters, given)
    rest = {name: item for name, item in node.value.items() if name != "parameters"}
    filled = fill(Node(rest, node.file, node.line, node.column, node.key, node.keys), values)
    check(filled, schema)
    _check_itself(filled)
    body = filled.plain()
    return _scenario(body, node, text, parameters, values)


def _scenario(
    body: dict[str, Any], node: Node, text: str, parameters: tuple[Parameter, ...], values: Mapping[str, Scalar]
) -> Scenario:
    loop, stop = body.get("loop", {}), body.get("stop", {})
    rehearse = body.get("rehearse")
    return Scenario(
        name=body["name"], shows=body["shows"], details=body.get("details", "").strip(), source=body.get("source", "").strip(),
        parts=tuple(body["parts"]), through=body["through"], needs=Needs(**body.get("needs", {})),
        destroys=body.get("destroys", "").strip(), parameters=parameters, values=values,
        count=loop.get("count", 1), duration_s=loop.get("duration"), pause_s=loop.get("pause", 0.0),
        actions=tuple(_action(one) for one in body["actions"]), watch=tuple(body["watch"]),
        kernel_log={one["name"]: one["pattern"] for one in body.get("kernel_log", ())},
        stop_after=stop.get("after", REPRODUCED), stop_failures=stop.get("failures", 1),
        reproduced=tuple(Condition(kind, value) for one in body["reproduced"] for kind, value in one.items()),
        restore=tuple(_action(one) for one in body.get("restore", ())), put_back=body.get("put_back", "").strip(),
        component=body.get("component", ""), rehearse=None if rehearse is None else Rehearsal(**rehearse),
        file=node.file, text=text,
    )  # fmt: skip


def _action(body: Mapping[str, Any]) -> Action:
    common = {"name", "module", "device", "parallel", "count", "duration"}
    settings = {name: value for name, value in body.items() if name not in common}
    return Action(
        body["name"], body["module"], body.get("device", "all"), body.get("parallel", True), body.get("count", 1),
        body.get("duration"), settings,
    )  # fmt: skip


def _parameters(node: Node) -> tuple[Parameter, ...]:
    assert isinstance(node.value, dict), "the schema says so"
    made = []
    for name, item in node.value.items():
        body = item.plain()
        one = Parameter(
            name,
            body["default"],
            body["help"],
            body.get("minimum"),
            body.get("maximum"),
            tuple(body.get("choices", ())),
        )
        problem = _outside(one, one.default)
        if problem:
            assert isinstance(item.value, dict), "the schema says so"
            raise item.value["default"].wrong(one.range_words, problem)
        made.append(one)
    return tuple(made)


def _values(parameters: Sequence[Parameter], given: Sequence[str]) -> dict[str, Scalar]:
    values = {one.name: one.default for one in parameters}
    known = {one.name: one for one in parameters}
    for words in given:
        name, equals, text = words.partition("=")
        if not equals or name not in known:
            raise UsageError(
                f"setting the parameter {words!r}",
                expected=f"NAME=VALUE with one of {', '.join(known) or '(this scenario has no parameters)'}",
                seen=words,
                next_step="gpumend repro show NAME lists them",
            )
        one = known[name]
        value = _typed(one, text)
        problem = _outside(one, value)
        if problem:
            raise UsageError(f"setting the parameter {name}", expected=one.range_words, seen=problem)
        values[name] = value
    return values


def _typed(one: Parameter, text: str) -> Scalar:
    """The text as a value of the default's type; text where it is none, which `_outside` then refuses."""
    try:
        if isinstance(one.default, bool):
            return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]
        if isinstance(one.default, int):
            return int(text, 0)
        return float(text) if isinstance(one.default, float) else text
    except (ValueError, KeyError):
        return text


def _outside(one: Parameter, value: Scalar) -> str:
    """What is wrong with a value; "" when nothing is."""
    if type(value) is not type(one.default) and not (isinstance(one.default, float) and isinstance(value, int)):
        return repr(value)
    if isinstance(value, str) and ("${" in value or len(value) > 200):
        return repr(value[:80])
    if one.choices and value not in one.choices:
        return repr(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        inside = (one.minimum is None or value >= one.minimum) and (one.maximum is None or value <= one.maximum)
        return "" if inside else str(value)
    return ""


def _bound(value: float | None) -> str:
    return "..." if value is None else f"{value:g}"


# ---------------------------------------------------------------- against itself


def _check_itself(node: Node) -> None:
    assert isinstance(node.value, dict), "the schema says so"
    actions = _names(node.value["actions"])
    if "restore" in node.value:
        _names(node.value["restore"], taken=actions)
    patterns = _names(node.value["kernel_log"]) if "kernel_log" in node.value else {}
    for item in _list(node.value.get("kernel_log")):
        _check_pattern(_mapping(item)["pattern"])
    for item in (*_list(node.value["actions"]), *_list(node.value.get("restore"))):
        proof = _mapping(item).get("proved_by")
        if proof is not None and proof.value not in patterns:
            raise proof.wrong(f"one of {', '.join(patterns) or '(there is no pattern)'}", repr(proof.value))
    for item in _list(node.value["reproduced"]):
        for kind, value in _mapping(item).items():
            known = {"action": actions, "kernel_log": patterns}.get(kind)
            if known is not None and value.value not in known:
                raise value.wrong(f"one of {', '.join(known) or '(there is none)'}", repr(value.value))
    watched = node.value["watch"].plain()
    if patterns and "kernel-log" not in watched:
        raise node.value["watch"].wrong("kernel-log among them: patterns of it are looked for", ", ".join(watched))


def _names(node: Node, taken: Mapping[str, int] | None = None) -> dict[str, int]:
    """The names of a list's entries, each once."""
    found = dict(taken or {})
    for item in _list(node):
        name = _mapping(item)["name"]
        if name.value in found:
            raise name.wrong("each name once", f"{name.value!r} again (line {found[str(name.value)]})")
        found[str(name.value)] = name.line
    return found


def _check_pattern(node: Node) -> None:
    try:
        compiled = re.compile(str(node.value))
    except re.error as error:
        raise node.wrong("a regular expression", f"{error}") from error
    if compiled.groups > MAX_PATTERN_GROUPS or re.search(r"[+*}]\)[+*{]", str(node.value)):
        raise node.wrong("a pattern without repetition of repetitions: it may take for ever", str(node.value))


def _list(node: Node | None) -> list[Node]:
    return node.value if node is not None and isinstance(node.value, list) else []


def _mapping(node: Node) -> dict[str, Node]:
    assert isinstance(node.value, dict), "the schema says so"
    return node.value


__all__ = ["Action", "Condition", "Needs", "Parameter", "Scenario", "ScenarioError", "build", "read", "shipped"]
