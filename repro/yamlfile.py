"""A YAML file as nodes that know where they stand, so that whatever is wrong with one can be pointed at.

Nothing is constructed but text, numbers, true, false and null: tags that name types, anchors and aliases, merge keys,
several documents and keys that come twice are refused while the file is still events. Source: YAML 1.1, as PyYAML's
safe loader reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from base.errors import UsageError
from base.files import read_bounded

MAX_BYTES = 256 << 10
MAX_EVENTS = 20_000
MAX_DEPTH = 16
Scalar = str | int | float | bool | None
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))
_PARAMETER = re.compile(r"\$\{([^{}]*)\}")


class ScenarioError(UsageError):
    """A scenario that cannot be used: `where` has file, line, column and key."""


@dataclass(slots=True)
class Node:
    """`value`: a dict of nodes by key, a list of nodes, or a scalar. Lines and columns count from 1; `key` is the way
    to it: `actions[1].method`. `keys`: where each key of a mapping stands."""

    value: dict[str, Node] | list[Node] | Scalar
    file: str
    line: int
    column: int
    key: str = ""
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)

    def plain(self) -> Any:
        """The same as dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def below(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name

    def wrong(self, expected: str, seen: str, next_step: str = "") -> ScenarioError:
        """The error to raise about this node."""
        return error_at(self.file, self.line, self.column, self.key, expected, seen, next_step)

    def wrong_key(self, name: str, expected: str, next_step: str = "") -> ScenarioError:
        """About a key of this mapping."""
        line, column = self.keys.get(name, (self.line, self.column))
        return error_at(self.file, line, column, self.below(name), expected, f"the key {name!r}", next_step)


def error_at(
    file: str, line: int, column: int, key: str, expected: str, seen: str, next_step: str = ""
) -> ScenarioError:
    place = f"{file}, line {line}, column {column}" + (f", key {key}" if key else "")
    return ScenarioError(
        f"reading the scenario {Path(file).name}",
        expected=expected,
        seen=seen,
        where=place,
        next_step=next_step or "gpumend repro show NAME shows scenarios that are right; docs/repro.md",
    )


def load(path: Path) -> Node:
    """The file's one document, a mapping. ScenarioError, and what opening a file can raise (NotPermitted,
    Unavailable)."""
    data = read_bounded(path, MAX_BYTES)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise error_at(str(path), line, 1, "", "UTF-8 text", f"byte {data[error.start]:#04x}") from error
    return parse(text, str(path))


def parse(text: str, file: str) -> Node:
    """The same of a text; `file` is only its name."""
    try:
        _check_events(text, file)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise error_at(file, line, column, "", "YAML", error.problem or str(error)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise error_at(file, line, 1, "", "printable text", f"the character {error.character!r}") from error
    if root is None:
        raise error_at(file, 1, 1, "", "a mapping: name, shows, actions ...", "an empty file")
    node = _Builder(file).build(root, "")
    if not isinstance(node.value, dict):
        raise node.wrong("a mapping: name, shows, actions ...", _kind(node))
    return node


def _check_events(text: str, file: str) -> None:
    """Before anything is composed: an alias costs nothing here and may cost gigabytes later."""
    depth = documents = 0

    def refuse(event: yaml.Event, expected: str, seen: str) -> NoReturn:
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise error_at(file, line, column, "", expected, seen)

    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if count > MAX_EVENTS:
            refuse(event, f"at most {MAX_EVENTS} keys and values", "more")
        if isinstance(event, yaml.AliasEvent):
            refuse(event, "every value written out", f"the alias *{event.anchor}")
        anchor = getattr(event, "anchor", None)
        if anchor:
            refuse(event, "every value written out", f"the anchor &{anchor}")
        tag = getattr(event, "tag", None)
        if tag is not None:
            refuse(event, "values without a tag: no objects are made from a scenario", f"the tag {tag}")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                refuse(event, "one document", "a second one")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            refuse(event, f"at most {MAX_DEPTH} levels", "more")


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self._scalars = yaml.SafeLoader("")

    def build(self, node: yaml.Node, key: str) -> Node:
        made = Node(None, self.file, node.start_mark.line + 1, node.start_mark.column + 1, key)
        if isinstance(node, ScalarNode):
            made.value = self._scalar(node, made)
        elif isinstance(node, SequenceNode):
            made.value = [self.build(item, f"{key}[{number}]") for number, item in enumerate(node.value)]
        else:
            assert isinstance(node, MappingNode), "there are three kinds of nodes"
            made.value = self._mapping(node, made)
        return made

    def _scalar(self, node: ScalarNode, made: Node) -> Scalar:
        if node.tag not in _PLAIN_TAGS:
            kind = node.tag.rpartition(":")[2]
            raise made.wrong(
                "text, a number, true, false or null", f"{node.value!r}, which YAML takes for a {kind}", "quote it"
            )
        try:
            value: Scalar = self._scalars.construct_object(node)
        except (ValueError, yaml.YAMLError) as error:
            raise made.wrong("a number", repr(node.value), "quote it") from error
        return value

    def _mapping(self, node: MappingNode, made: Node) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for name_node, value_node in node.value:
            line, column = name_node.start_mark.line + 1, name_node.start_mark.column + 1
            name = name_node.value if isinstance(name_node, ScalarNode) else None
            if not isinstance(name, str) or name_node.tag not in _PLAIN_TAGS:
                raise error_at(
                    self.file, line, column, made.key, "a word as a key", "a merge key (<<) or no word at all"
                )
            if name in found:
                first = made.keys[name][0]
                raise error_at(
                    self.file, line, column, made.below(name), "each key once", f"{name!r} again (line {first})"
                )
            made.keys[name] = (line, column)
            found[name] = self.build(value_node, made.below(name))
        return found


def fill(node: Node, values: dict[str, Scalar]) -> Node:
    """The same with `${name}` replaced by the parameter: a value that is nothing else takes its type, too."""
    filled = Node(node.value, node.file, node.line, node.column, node.key, node.keys)
    if isinstance(node.value, dict):
        filled.value = {name: fill(item, values) for name, item in node.value.items()}
    elif isinstance(node.value, list):
        filled.value = [fill(item, values) for item in node.value]
    elif isinstance(node.value, str) and "${" in node.value:
        filled.value = _filled(node, node.value, values)
    return filled


def _filled(node: Node, text: str, values: dict[str, Scalar]) -> Scalar:
    def value_of(name: str) -> Scalar:
        if name not in values:
            raise node.wrong(f"one of the parameters {', '.join(sorted(values)) or '(there is none)'}", f"${{{name}}}")
        return values[name]

    whole = _PARAMETER.fullmatch(text)
    if whole:
        return value_of(whole[1])
    return _PARAMETER.sub(lambda found: str(value_of(found[1])), text)


def _kind(node: Node) -> str:
    return {dict: "a mapping", list: "a list", str: "text", bool: "true or false"}.get(
        type(node.value), "a number or nothing"
    )
