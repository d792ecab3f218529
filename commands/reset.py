"""`reset`: brings hung GPUs back, mildest method first, each step verified; what it would do is shown before, and asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from base.errors import Exit, GpumendError, Refused, UsageError
from base.findings import Action
from base.resets import numbers
from commands.common import Seconds, Settings, common_options, emit, ends_in_order, probe_limit, settings_of
from render.reports import error_body, error_lines
from render.text import Printer, clean

if TYPE_CHECKING:
    from base.resets import GpuOutcome, ResetStep
    from gpumend import Gpu, Preview, ResetOptions, SoakReport

_WHOLE_DAY_S = 86400.0


@click.command("reset", short_help="Bring hung GPUs back: mildest method first, verified.")
@click.option("--method", metavar="METHOD", help="auto (default), an action word, or a name from --list-methods.")
@click.option("--hive", is_flag=True, help="The same as --method hive-reset.")
@click.option("--dry-run", is_flag=True, help="Say what would be done to whom, write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--unbind", is_flag=True, help="Take the GPUs from their kernel driver first; bounded.")
@click.option("--kill-holders", is_flag=True, help="End the processes that hold the GPUs first.")
@click.option("--force", metavar="METHOD", multiple=True, help="Overrule the safety table for this method; repeatable.")
@click.option(
    "--selftest", "selftest", is_flag=True, help="Test what seems well, go on if it is not; AMD: VRAM is overwritten."
)
@click.option("--attempts", type=click.IntRange(1, 20), default=5, show_default=True, help="Methods that auto may try.")
@click.option(
    "--budget", "budget_s", type=Seconds(1, _WHOLE_DAY_S), default=900.0, show_default=True, metavar="SECONDS",
    help="No new step is begun when its time would go beyond this.",
)  # fmt: skip
@probe_limit("--probe-timeout")
@click.option("--evidence", type=click.Path(path_type=Path), metavar="DIR", help="Where the bundle goes; a new folder.")
@click.option(
    "--loop", "rounds", type=click.IntRange(1, 1_000_000), metavar="N", help="Reset again and again, with statistics."
)
@click.option("--until-failure", is_flag=True, help="With --loop: end at the first round that does not end well.")
@click.option("--list-methods", is_flag=True, help="Every method, and what is never done to which part.")
@click.option("--history", is_flag=True, help="Every attempt that was made by this user, from the journal.")
@common_options
@click.pass_context
def reset_command(
    context: click.Context,
    method: str | None,
    hive: bool,
    dry_run: bool,
    yes: bool,
    unbind: bool,
    kill_holders: bool,
    force: tuple[str, ...],
    selftest: bool,
    attempts: int,
    budget_s: float,
    limit_s: float,
    evidence: Path | None,
    rounds: int | None,
    until_failure: bool,
    list_methods: bool,
    history: bool,
) -> int:
    """Bring the selected GPUs (-g) back.

    auto probes, takes the mildest method that is likely to help, verifies, and goes up; it leaves GPUs alone that are well.
    Any other method is done as it is named, and nothing else. In a hive, what resets a whole GPU resets all of them: the
    preview (--dry-run) names everyone who is hit, and who holds them.

    Before the first step a bundle of evidence is on the disk; every attempt stands in a journal (--history).

    Exit 0: done and verified. 1: tried, failed. 2: done, not verified. 3: refused. 69: no GPU, lost. 130: interrupted."""
    settings = settings_of(context)
    if list_methods or history:
        return _show_methods(settings) if list_methods else _show_history(settings)
    chosen = _method(method, hive)
    if until_failure and rounds is None:
        raise UsageError("reset --until-failure", expected="--loop N beside it", seen="none")
    if selftest and rounds is not None:
        raise UsageError("reset --selftest", expected="one reset", seen=f"--loop {rounds}")
    everyone, wanted = _find(settings)
    from gpumend import ResetOptions

    options = ResetOptions(
        method=chosen, force=force, attempts=attempts, budget_s=budget_s, deep=rounds is not None, unbind=unbind,
        kill_holders=kill_holders, selftest=selftest, evidence=evidence, firmware=settings.firmware,
        probe_s=limit_s,
    )  # fmt: skip
    if hive and len(wanted) < len(everyone):
        wanted = _whole_hives(everyone, wanted, options)
    if dry_run:
        return _dry(settings, everyone, wanted, options)
    if not yes:
        options.shown = _consent(everyone, wanted, options, rounds)
    with ends_in_order():
        if rounds is not None:
            return _soak(settings, everyone, wanted, options, rounds, until_failure)
        return _reset(settings, everyone, wanted, options)


def _method(method: str | None, hive: bool) -> str:
    from gpumend import reset_words

    if hive and method not in (None, "auto", "hive-reset"):
        raise UsageError("reset --hive", expected="no other method beside it", seen=f"--method {method}")
    chosen = method or ("hive-reset" if hive else "auto")
    if chosen not in reset_words():
        raise UsageError(
            f"choosing the reset method {chosen!r}", expected=f"one of {', '.join(reset_words())}", seen=chosen,
            next_step="gpumend reset --list-methods",
        )  # fmt: skip
    return chosen


def _find(settings: Settings) -> tuple[list[Gpu], list[Gpu]]:
    """Every GPU in reach, because a reset may hit others of the hive; and those that were selected."""
    from gpumend import select, with_neighbours

    selection, settings.gpus = settings.gpus, ()
    found = settings.find("reset", acting=True, nvidia=True)
    settings.gpus = selection
    wanted = select(found, selection)
    return with_neighbours(found), wanted


def _whole_hives(everyone: list[Gpu], wanted: list[Gpu], options: ResetOptions) -> list[Gpu]:
    """--hive means the hive: every member of the hives that a selected GPU is in."""
    from gpumend import plan_reset

    previews, _ = plan_reset(everyone, wanted, options)
    members = {one.index for preview in previews for one in preview.group.everyone}
    return [gpu for gpu in everyone if gpu in wanted or gpu.index in members]


def _reset(settings: Settings, everyone: list[Gpu], wanted: list[Gpu], options: ResetOptions) -> int:
    from gpumend import new_asked, reset_gpus
    from render.resets import print_reset, reset_body, steps_table

    asked = new_asked()
    with _progress("") as watcher:
        report = reset_gpus(everyone, wanted, options, watcher=watcher, asked=asked)
    body = {"dry_run": False, **reset_body(report)}
    emit(
        settings, "reset", body=body, table=steps_table(report),
        human=lambda printer: print_reset(printer, report, _answers()),
    )  # fmt: skip
    return Exit.INTERRUPTED if asked else report.exit_code


def _answers() -> dict[str, str]:
    """What a person is to do, for the answers that are for a person; else the command."""
    from gpumend import reset_methods

    told = {row.name: row.what for row in reset_methods() if row.is_answer}
    rest = [str(action) for action in Action if action is not Action.NONE and str(action) not in told]
    return (
        told
        | {action: f"gpumend reset --method {action}" for action in rest}
        | {
            str(
                Action.RESTART_APP
            ): "stop the applications that the finding is about, start them again, then gpumend probe"
        }
    )


# ---------------------------------------------------------------- before


def _dry(settings: Settings, everyone: list[Gpu], wanted: list[Gpu], options: ResetOptions) -> int:
    from gpumend import plan_reset
    from render.resets import outcome_body, preview_table, print_preview

    previews, refused = plan_reset(everyone, wanted, options)
    bodies = [one.to_dict() for one in previews]
    errors = _in_the_way(previews, refused)

    tested = _tested(previews, options)

    def human(printer: Printer) -> None:
        for number, body in enumerate(bodies):
            print_preview(printer, number, body)
        if tested:
            printer.line(f"  {_test_words(previews, options)}")
        for error in errors:
            printer.line()
            for line in error_lines(error):
                printer.line(line)

    gpus = [outcome_body(one) for one in refused]
    body = {"dry_run": True, "method": options.method, "groups": bodies, "gpus": gpus, "selftest": tested}
    first = errors[0] if errors else None
    told = {"refused": None if first is None else error_body(first), "refusals": [error_body(one) for one in errors]}
    emit(
        settings, "reset", body=body | told,
        table=preview_table(bodies), human=human,
    )  # fmt: skip
    return Exit.OK if first is None else int(first.exit_code)


def _tested(previews: list[Preview], options: ResetOptions) -> list[int]:
    """Indices of the GPUs that --selftest would bring up, if they are or become well."""
    return [one.index for preview in previews for one in preview.group.wanted] if options.selftest else []


def _test_words(previews: list[Preview], options: ResetOptions) -> str:
    """What --selftest does to whom: NVIDIA's are tested beside their users, AMD's are brought up anew."""
    ours = [one for preview in previews for one in preview.group.wanted]
    mine = numbers(_tested(previews, options))
    lines = [f"self-test of GPU {mine} if it is well then; one that fails is reset, in a hive with all members"]
    if amd := [one.index for one in ours if not one.part.is_nvidia]:
        lines.append(f"what the VRAM of GPU {numbers(amd)} holds is lost")
    if nvidia := [one.index for one in ours if one.part.is_nvidia]:
        lines.append(
            f"GPU {numbers(nvidia)}: through the NVIDIA driver, beside its users; without the driver it cannot be tested"
        )
    return "; ".join(lines)


def _in_the_way(previews: list[Preview], refused: list[GpuOutcome]) -> list[GpumendError]:
    return [one.error for one in refused if one.error is not None] + [
        one.refusal for one in previews if one.refusal is not None
    ]


def _consent(everyone: list[Gpu], wanted: list[Gpu], options: ResetOptions, rounds: int | None) -> frozenset[int]:
    """Show what would be done, and ask; Refused where nobody can be asked, or the answer is no. Indices of the GPUs that were
    shown as hit: to no other was agreed, whatever is found by then."""
    from gpumend import plan_reset
    from render.resets import print_preview

    previews, refused = plan_reset(everyone, wanted, options)
    in_the_way = _in_the_way(previews, refused)
    if in_the_way and not any(one.planned and one.refusal is None for one in previews):
        raise in_the_way[0]
    planned = [one for one in previews if one.planned]
    tested = _tested(previews, options)
    if not planned and not tested:
        return frozenset()
    first = [f"{one.planned[0].rung.method.name} of GPU {numbers(one.planned[0].rung.gpus)}" for one in planned]
    words = "; ".join(first + [f"self-test of GPU {numbers(tested)}"] * bool(tested))
    often = "" if rounds is None else f", {rounds} times"
    if sys.stdin is None or not sys.stdin.isatty():
        raise Refused(
            f"reset ({words}{often})", expected="somebody to ask", seen="standard input is no terminal",
            next_step="--dry-run to see what would be done, --yes to go on without asking",
        )  # fmt: skip
    printer = Printer(sys.stderr)
    for number, one in enumerate(planned):
        print_preview(printer, number, one.to_dict())
    if tested:
        printer.line(_test_words(previews, options))
    if not click.confirm(f"Begin with {words}{often}?", err=True):
        raise Refused(f"reset ({words}{often})", seen="the answer was no")
    hit = {index for one in planned for index in one.hit}
    return frozenset(hit | {one.index for preview in previews if tested for one in preview.group.everyone})


# ---------------------------------------------------------------- again and again


def _soak(
    settings: Settings, everyone: list[Gpu], wanted: list[Gpu], options: ResetOptions, rounds: int, until_failure: bool
) -> int:
    from gpumend import soak_chart, soak_reset
    from render.resets import outcome_body, print_reset, print_soak, reset_body, soak_table

    with _progress(f" of {rounds}") as watcher:
        report = soak_reset(
            everyone, wanted, rounds, options, until_failure=until_failure, watcher=watcher, on_round=watcher.round
        )
    first, last = report.first_failure, report.rounds[-1] if report.rounds else None
    told = [
        {"number": one.number, "word": one.word, "exit": one.report.exit_code, "seconds": round(one.seconds, 6),
         "methods": [step.method for step in one.report.steps]}
        for one in report.rounds
    ]  # fmt: skip
    body = {
        "dry_run": False, "method": options.method, "loop": report.to_dict(), "rounds": told,
        "first_failure": None if first is None else reset_body(first.report),
        "gpus": [] if last is None else [outcome_body(one) for one in last.report.gpus],
    }  # fmt: skip

    def human(printer: Printer) -> None:
        print_soak(printer, report.to_dict(), soak_chart(report), None if first is None else first.report)
        if last is not None:
            printer.line()
            printer.heading("after the last round")
            print_reset(printer, last.report, _answers(), steps_shown=last is first)

    emit(settings, "reset", body=body, table=soak_table(told), human=human)
    return report.exit_code


# ---------------------------------------------------------------- progress


class _Watcher:
    """Tells people how it goes, on standard error: a status line on a terminal, else only what has to be said."""

    def __init__(self, status: Any, of_rounds: str) -> None:
        self._status, self._of_rounds = status, of_rounds
        self._round, self._words = 1, ""

    def step(self, number: int, rung: Any) -> None:
        self._words = f"{rung.method.name} of GPU {numbers(rung.gpus)}"
        self.stage("begin")

    def stage(self, name: str) -> None:
        if self._status is not None:
            head = f"round {self._round}{self._of_rounds}: " if self._of_rounds else ""
            self._status.update(f"{head}{self._words}: {name}")

    def judged(self, step: ResetStep) -> None:
        self.stage(str(step.status))

    def say(self, text: str) -> None:
        click.echo(clean(text), err=True)

    def round(self, report: SoakReport) -> None:
        self._round = len(report.rounds) + 1


@contextmanager
def _progress(of_rounds: str) -> Iterator[_Watcher]:
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Watcher(None, of_rounds)
        return
    from rich.console import Console

    with Console(stderr=True).status("looking") as status:
        yield _Watcher(status, of_rounds)


# ---------------------------------------------------------------- what there is


def _show_methods(settings: Settings) -> int:
    from gpumend import reset_methods, reset_rules
    from render.resets import methods_table, print_methods

    rows = [row.to_dict() for row in reset_methods()]
    rules = [rule.to_dict() for rule in reset_rules()]
    emit(
        settings, "reset", body={"methods": rows, "rules": rules, "gpus": []}, table=methods_table(rows),
        human=lambda printer: print_methods(printer, rows, rules),
    )  # fmt: skip
    return Exit.OK


def _show_history(settings: Settings) -> int:
    from gpumend import reset_history
    from render.resets import history_table

    rows = reset_history()
    table = history_table(rows)

    def human(printer: Printer) -> None:
        if rows:
            printer.table(history_table(rows, whole=False))
        else:
            printer.line("no reset was ever begun by this user")

    emit(settings, "reset", body={"history": rows, "gpus": []}, table=table, human=human)
    return Exit.OK
