"""The part of JSON Schema that `scenario.schema.json` uses, on nodes that know their place: the first thing that is
wrong is told with line, column, key and the words that are allowed. Tests hold it together with a complete validator.

Known: $ref (#/$defs/...), type, enum, const, properties, required, additionalProperties, propertyNames.enum, items,
minItems, maxItems, minLength, maxLength, pattern, minimum, maximum, allOf, if/then, minProperties, maxProperties."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

from repro.yamlfile import Node, ScenarioError

Schema = Mapping[str, Any]
_NAMES = {
    "object": "a mapping", "array": "a list", "string": "text", "integer": "a whole number", "number": "a number",
    "boolean": "true or false", "null": "nothing",
}  # fmt: skip


@cache
def scenario_schema() -> Schema:
    """The schema file beside this module."""
    text = resources.files("repro").joinpath("scenario.schema.json").read_text("utf-8")
    body: Schema = json.loads(text)
    return body


def check(node: Node, schema: Schema) -> None:
    """Raises ScenarioError about the first thing that is wrong."""
    _check(node, schema, schema)


def _check(node: Node, schema: Schema, root: Schema) -> None:
    reference = schema.get("$ref")
    if reference is not None:
        target = root
        for part in str(reference).removeprefix("#/").split("/"):
            target = target[part]
        _check(node, target, root)
    _check_type(node, schema)
    if "const" in schema and node.value != schema["const"]:
        raise node.wrong(repr(schema["const"]), _shown(node))
    if "enum" in schema and node.value not in schema["enum"]:
        raise _not_allowed(node, [str(word) for word in schema["enum"] if not str(word).startswith("${")])
    if isinstance(node.value, dict):
        _check_mapping(node, node.value, schema, root)
    elif isinstance(node.value, list):
        _check_list(node, node.value, schema, root)
    elif isinstance(node.value, str):
        _check_text(node, node.value, schema)
    elif isinstance(node.value, int | float) and not isinstance(node.value, bool):
        _check_number(node, node.value, schema)
    for part in schema.get("allOf", ()):
        if "if" not in part or _holds(node, part["if"], root):
            _check(node, part.get("then", part if "if" not in part else {}), root)


def _holds(node: Node, schema: Schema, root: Schema) -> bool:
    try:
        _check(node, schema, root)
    except ScenarioError:
        return False
    return True


def _check_type(node: Node, schema: Schema) -> None:
    wanted = schema.get("type")
    if wanted is None:
        return
    kinds = [wanted] if isinstance(wanted, str) else list(wanted)
    if not any(_is(node, kind) for kind in kinds):
        raise node.wrong(" or ".join(_NAMES[kind] for kind in kinds), _shown(node), str(schema.get("description", "")))


def _is(node: Node, kind: str) -> bool:
    value = node.value
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    kinds: dict[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(value, kinds[kind])


def _check_mapping(node: Node, value: dict[str, Node], schema: Schema, root: Schema) -> None:
    known: Mapping[str, Schema] = schema.get("properties", {})
    allowed = schema.get("propertyNames", {}).get("enum")
    pattern = schema.get("propertyNames", {}).get("pattern")
    rest = schema.get("additionalProperties", True)
    for name, item in value.items():
        if allowed is not None and name not in allowed:
            raise _unknown_key(node, name, allowed)
        if pattern is not None and not re.search(pattern, name):
            raise node.wrong_key(name, f"a key of the form {pattern}")
        if name in known:
            _check(item, known[name], root)
        elif rest is False:
            raise _unknown_key(node, name, list(known))
        elif isinstance(rest, Mapping):
            _check(item, rest, root)
    for name in schema.get("required", ()):
        if name not in value:
            raise node.wrong(f"the key {name!r}", f"only {', '.join(value) or 'nothing'}")
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        raise node.wrong(
            f"{schema.get('minProperties', 0)} to {schema.get('maxProperties', 'any')} keys", str(len(value))
        )


def _unknown_key(node: Node, name: str, allowed: list[str]) -> ScenarioError:
    return node.wrong_key(name, f"one of {', '.join(sorted(allowed))}", _did_you_mean(name, allowed))


def _not_allowed(node: Node, allowed: list[str]) -> ScenarioError:
    return node.wrong(f"one of {', '.join(allowed)}", _shown(node), _did_you_mean(str(node.value), allowed))


def _did_you_mean(word: str, allowed: list[str]) -> str:
    close = get_close_matches(word, allowed, n=1)
    return f"did you mean {close[0]}?" if close else ""


def _check_list(node: Node, value: list[Node], schema: Schema, root: Schema) -> None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        raise node.wrong(f"{schema.get('minItems', 0)} to {schema.get('maxItems', 'any')} entries", str(len(value)))
    for item in value:
        _check(item, schema.get("items", {}), root)


def _check_text(node: Node, value: str, schema: Schema) -> None:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        raise node.wrong(
            f"{schema.get('minLength', 0)} to {schema.get('maxLength', 'any')} characters", f"{len(value)} characters"
        )
    if "pattern" in schema and not re.search(schema["pattern"], value):
        raise node.wrong(schema.get("description", f"text of the form {schema['pattern']}"), _shown(node))


def _check_number(node: Node, value: float, schema: Schema) -> None:
    low, high = schema.get("minimum"), schema.get("maximum")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise node.wrong(f"{'-' if low is None else low} to {'-' if high is None else high}", _shown(node))


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    return "nothing" if node.value is None else repr(node.value)[:80]
