"""Scenario files that are wrong: each error has line, column and key, and says what would be right. Nothing is constructed."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from base.errors import Exit
from repro.scenario import read, shipped
from repro.schema import scenario_schema
from repro.yamlfile import MAX_BYTES, ScenarioError, load, parse

GOOD = """\
name: mine
shows: a scenario that is right in all its parts
parts: [all]
through: userspace
parameters:
  count: {default: 3, minimum: 1, maximum: 9, help: how often}
loop: {count: "${count}"}
actions:
  - name: one
    module: reset
    method: flr
watch: [probe, kernel-log]
kernel_log:
  - {name: oops, pattern: 'BUG: '}
reproduced:
  - {action: one}
  - {kernel_log: oops}
"""
# (what is wrong, text to replace, replacement, line, key, words that the error must have)
BROKEN = [
    ("unknown key at the top", "through: userspace", "throuhg: userspace", 4, "throuhg", "did you mean through"),
    ("unknown module", "module: reset", "module: rest", 10, "actions[0].module", "reset"),
    ("unknown method", "method: flr", "method: frl", 11, "actions[0].method", "did you mean flr"),
    (
        "key of another module",
        "method: flr",
        "method: flr\n    kernel: infinite-loop",
        12,
        "actions[0].kernel",
        "method",
    ),
    ("missing key", "    method: flr\n", "", 9, "actions[0]", "'method'"),
    ("missing section", "watch: [probe, kernel-log]\n", "", 1, "", "'watch'"),
    ("word that is none of the allowed", "through: userspace", "through: users", 4, "through", "userspace, driver"),
    ("text where a list belongs", "parts: [all]", "parts: all", 3, "parts", "a list"),
    ("list where a mapping belongs", 'loop: {count: "${count}"}', "loop: [3]", 7, "loop", "a mapping"),
    ("number out of range", 'loop: {count: "${count}"}', "loop: {count: 0}", 7, "loop.count", "1 to 1000000"),
    ("text that is no number", 'loop: {count: "${count}"}', "loop: {count: many}", 7, "loop.count", "a number from"),
    ("unknown parameter", '"${count}"', '"${conut}"', 7, "loop.count", "count"),
    ("default outside of its bounds", "default: 3", "default: 30", 6, "parameters.count.default", "1 to 9"),
    ("unknown watcher", "watch: [probe,", "watch: [prob,", 12, "watch[0]", "did you mean probe"),
    ("pattern that is none", "'BUG: '", "'BUG: ('", 14, "kernel_log[0].pattern", "a regular expression"),
    ("pattern that takes for ever", "'BUG: '", "'(a+)+b'", 14, "kernel_log[0].pattern", "repetition"),
    (
        "condition on an action that is not there",
        "{action: one}",
        "{action: two}",
        16,
        "reproduced[0].action",
        "one of one",
    ),
    (
        "condition on a pattern that is not there",
        "{kernel_log: oops}",
        "{kernel_log: ops}",
        17,
        "reproduced[1].kernel_log",
        "oops",
    ),
    ("two conditions in one", "{action: one}", "{action: one, devcoredump: true}", 16, "reproduced[0]", "1 to 1 keys"),
    ("key twice", "parts: [all]", "parts: [all]\nparts: [all]", 4, "parts", "each key once"),
    (
        "name twice",
        "watch:",
        "  - {name: one, module: wait, seconds: 1}\nwatch:",
        12,
        "actions[1].name",
        "each name once",
    ),
    ("name with blanks", "name: mine", "name: my scenario", 1, "name", "small letters"),
    ("date", "name: mine", "name: 2026-01-01", 1, "name", "timestamp"),
    ("tag of an object", "name: mine", "name: !!python/object/apply:os.system [id]", 1, "", "the tag"),
    ("tag of our own", "name: mine", "name: !mine x", 1, "", "the tag !mine"),
    ("anchor", "parts: [all]", "parts: &all [all]", 3, "", "the anchor &all"),
    ("alias", "parts: [all]", "parts: *all", 3, "", "the alias *all"),
    ("merge key", "parts: [all]", "<<: {parts: [all]}", 3, "", "a merge key"),
    ("second document", "parts: [all]", "---\nparts: [all]", 3, "", "one document"),
    ("unclosed bracket", "parts: [all]", "parts: [all", 4, "", "YAML"),
    ("tab as indentation", "    module: reset", "\tmodule: reset", 10, "", "YAML"),
    ("patterns without the log", "watch: [probe, kernel-log]", "watch: [probe]", 12, "watch", "kernel-log among them"),
]


def wrong(text: str) -> ScenarioError:
    from repro.scenario import build

    with pytest.raises(ScenarioError) as caught:
        build(parse(text, "mine.yaml"), text)
    return caught.value


def test_yaml_good_file_is_read() -> None:
    from repro.scenario import build

    found = build(parse(GOOD, "mine.yaml"), GOOD, ["count=5"])
    assert (found.count, found.values) == (5, {"count": 5})
    assert found.reproduced[0].words == "the action one fails"


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_yaml_broken_file_is_pointed_at(old: str, new: str, line: int, key: str, words: str) -> None:
    assert GOOD.count(old) == 1, "the replacement must be the only thing that is wrong"
    error = wrong(GOOD.replace(old, new))
    assert error.exit_code == Exit.USAGE
    assert f"mine.yaml, line {line}, column " in error.where, str(error)
    assert (f", key {key}" if key else "") in error.where
    assert error.where.endswith(key) or not key
    assert words in f"{error.expected} {error.seen} {error.next_step}", str(error)


def test_yaml_aliases_that_explode_are_refused_at_once() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
    )
    error = wrong(bomb)
    assert "line 1" in error.where


def test_yaml_endless_nesting_and_endless_lists_are_refused() -> None:
    assert "levels" in wrong("a: " + "[" * 200 + "]" * 200).expected
    assert "keys and values" in wrong("a: [" + "x, " * 30_000 + "x]").expected


def test_yaml_no_text_and_too_much_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(ScenarioError, match="reading") as caught:
        load(path)
    assert "line 1" in caught.value.where
    assert "an empty file" in wrong("").seen
    assert "a mapping" in wrong("- a\n- b\n").expected
    assert "character" in wrong("name: a\x00b\n").seen
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(Exception, match="reading"):
        load(path)


@pytest.mark.parametrize("name", shipped())
def test_yaml_shipped_scenarios_hold_for_a_complete_validator_too(name: str) -> None:
    """Raw, as an editor sees them; and our small validator must not be laxer than a complete one."""
    text = Path(__file__).resolve().parents[2].joinpath("repro/scenarios", f"{name}.yaml").read_text()
    jsonschema.validate(parse(text, name).plain(), scenario_schema())
    assert read(name).name == name


@pytest.mark.parametrize(
    "row",
    [row for row in BROKEN if not row[5].startswith(("the ", "a merge", "YAML", "one doc"))],
    ids=lambda row: row[0],
)
def test_yaml_small_validator_is_as_strict_as_the_complete_one(row: tuple[str, str, str, int, str, str]) -> None:
    """What the complete validator refuses, ours refuses; it knows more (names that are used, patterns)."""
    text = GOOD.replace(row[1], row[2])
    try:
        plain = parse(text, "mine.yaml").plain()
    except ScenarioError:
        return
    if list(jsonschema.Draft202012Validator(scenario_schema()).iter_errors(plain)):
        wrong(text)


def test_yaml_schema_file_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(scenario_schema())))
