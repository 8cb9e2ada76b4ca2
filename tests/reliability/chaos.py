"""The chaos driver: many tiny sweeps, a fault each, and a table of what was lost. Exit 1 unless that is nothing.

`python -m tests.reliability.chaos --count 50 --seed 0`; `--only 17` does one of them again.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.reliability.checks import Expected
from tests.reliability.disk import SmallDisk
from tests.reliability.faults import FAULTS
from tests.reliability.sweeps import Outcome, disturbed, undisturbed

SHORT = list(FAULTS)[:8]  # `--count 8`
COLUMNS = ("fault", "times", "trials lost", "trials doubled", "runs orphaned", "epochs lost", "table as it should be")


def main() -> int:
    """Run the sweeps and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.chaos")
    parser.add_argument("--count", type=int, default=50, metavar="N", help="sweeps, with one fault each")
    parser.add_argument("--seed", type=int, default=0, help="draws faults and instants")
    parser.add_argument("--faults", help=f"only these, separated by commas, of: {', '.join(FAULTS)}")
    parser.add_argument("--only", type=int, metavar="K", help="of all sweeps only number K")
    parser.add_argument("--first", type=int, default=1, metavar="K", help="go on at number K: each draws for itself")
    parser.add_argument("--jobs", type=int, default=1, help="sweeps at a time")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--keep", type=Path, help="a folder that takes the folders of sweeps that went wrong")
    arguments = parser.parse_args()
    names = arguments.faults.split(",") if arguments.faults else list(FAULTS)
    if unknown := set(names) - FAULTS.keys():
        parser.error(f"no fault {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    if not SmallDisk.possible():
        left_out = [name for name in names if FAULTS[name].disk]
        names = [name for name in names if name not in left_out]
        _say(f"left out, as only root may mount a small file system: {', '.join(left_out) or 'nothing'}")
    drawn = list(enumerate(draw(names, arguments.count, arguments.seed), 1))[arguments.first - 1 :]
    if arguments.only:
        drawn = [sweep for sweep in drawn if sweep[0] == arguments.only]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # sweeps would inherit that a background job ignores it
    load, started = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hsray-chaos-") as scratch:
        outcomes = run(drawn, arguments.seed, arguments.jobs, Path(scratch), arguments.keep)
    took = f"{time.monotonic() - started:.0f} s, {arguments.jobs} at a time"
    show(outcomes, arguments.markdown, f"seed {arguments.seed}; {took}; load {load:.1f} before")
    return 0 if all(outcome.clean for outcome in outcomes) else 1


def draw(names: list[str], count: int, seed: int) -> list[str]:
    """One fault a sweep: each kind as often as any other, the rest at random; up to one each, the first kinds."""
    rounds, rest = divmod(count, len(names))
    if not rounds:
        return names[:count]
    drawn = names * rounds + random.Random(seed).sample(names, rest)
    random.Random(seed).shuffle(drawn)
    return drawn


def run(drawn: list[tuple[int, str]], seed: int, jobs: int, scratch: Path, keep: Path | None) -> list[Outcome]:
    """First the undisturbed sweeps that are compared with, then those with a fault."""
    expected = Expected()
    for shape in ("one", "workers"):
        if shape == "one" or any(shape in FAULTS[name].shapes for _, name in drawn):
            _say(_line(undisturbed(scratch / f"undisturbed-{shape}", shape, expected)))

    def one(number: int, name: str) -> Outcome:
        folder = scratch / f"{number}-{name}"
        outcome = disturbed(folder, name, number, seed, expected)
        _say(_line(outcome))
        if keep is not None and not outcome.clean:
            shutil.copytree(folder, keep / folder.name, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        return outcome

    if jobs == 1:  # here, so that Ctrl-C ends the sweep under way as well
        return [one(*sweep) for sweep in drawn]
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, *zip(*drawn, strict=True)))


def show(outcomes: list[Outcome], markdown: bool, title: str) -> None:
    """The table: a row for each kind of fault, and a sum."""
    rows = []
    for name in [*(name for name in FAULTS if any(o.fault == name for o in outcomes)), "all"]:
        of = [outcome for outcome in outcomes if name in (outcome.fault, "all")]
        found = [outcome.findings for outcome in of]
        counts = [sum(getattr(f, column) for f in found) for column in ("lost", "doubled", "orphaned", "epochs_lost")]
        good = sum(f.table for f in found)
        rows.append([name, *map(str, [len(of), *counts]), "yes" if good == len(of) else f"{good} of {len(of)}"])
    if markdown:
        print(f"{title}\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
        print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    else:
        table = Table(*COLUMNS, title=title, box=None)
        for row in rows:
            table.add_row(*row)
        Console(width=120).print(table)
    for outcome in outcomes:
        for words in outcome.findings.words + outcome.complaints:
            print(f"#{outcome.number} {outcome.fault}: {words}")


def _line(outcome: Outcome) -> str:
    verdict = "as it should be" if outcome.clean else "; ".join(outcome.findings.words + outcome.complaints)
    how = f"{outcome.commands} commands, {outcome.seconds:.0f} s, {', '.join(outcome.notes)}"
    return f"#{outcome.number} {outcome.fault} ({outcome.shape}, {outcome.instant}; {how}): {verdict}"


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
