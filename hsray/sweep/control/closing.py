"""The last word of a sweep that has not done all: why, what was saved, what is left, and how it goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hsray.errors import HsrayError
from hsray.sweep.control.stopper import Stopper
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.jobs import Job
from hsray.training import checkpoint

GO_ON = "run the same command again: it goes on from here"


def stopped(
    stopper: Stopper, dispatcher: Dispatcher | None, folder: Path, undelivered: int, *, stored: bool = False
) -> HsrayError:
    """After a signal (exit code 128 and its number, as shells have it) or a cap (1).

    `stored`: checkpoints lie in a store, and not in the driver's folder.
    """
    parts = [f"stopped by {stopper.reason}" if stopper.signum else f"stopped: {stopper.reason}"]
    if dispatcher is None:
        parts.append("no run had been started")
    else:
        begun = [*dispatcher.interrupted, *dispatcher.live.values(), *dispatcher.handed_back]
        runs = [f"{_counted(len(begun), 'run')} under way"] if stored and begun else _runs(stopper, begun)
        parts += [*runs, _left(dispatcher)]
    if undelivered:
        parts.append(f"{_counted(undelivered, 'record')} not in MLflow yet")
    cap = "" if stopper.signum else ("; raise the cap first" if "caps.hours" not in str(stopper.reason) else "")
    error = HsrayError("; ".join(parts), where=str(folder), do=GO_ON + cap)
    error.exit_code = 128 + stopper.signum if stopper.signum else 1
    return error


def left_open(dispatcher: Dispatcher, folder: Path) -> HsrayError:
    """Nobody stopped it, and not all has ended: the machines failed runs."""
    reasons = Counter(lost.reason for lost in dispatcher.lost)
    listed = "".join(f"\n    {_counted(count, 'run')}: {reason}" for reason, count in reasons.most_common())
    what = f"the machine failed {_counted(len(dispatcher.lost), 'run')} again and again; {_left(dispatcher)}{listed}"
    return HsrayError(
        what if dispatcher.lost else f"the sweep was interrupted; {_left(dispatcher)}",
        where=str(folder),
        do=f"mend the cause, then {GO_ON}" if dispatcher.lost else GO_ON,
    )


def _runs(stopper: Stopper, begun: list[Job]) -> list[str]:
    saved = earlier = unsaved = 0
    for job in begun:
        try:
            written = (job.folder / checkpoint.NAME).stat().st_mtime
        except OSError:  # none, or a worker of another machine is replacing it
            written = None
        saved += written is not None and written >= (stopper.stopped_at or 0) - 1
        earlier += written is not None and written < (stopper.stopped_at or 0) - 1
        unsaved += written is None
    return [
        text
        for count, text in (
            (saved, f"{_counted(saved, 'run')} saved"),
            (earlier, f"{_counted(earlier, 'run')} did not answer in time: from the last checkpoint"),
            (unsaved, f"{_counted(unsaved, 'run')} had nothing to save"),
        )
        if count
    ]


def _left(dispatcher: Dispatcher) -> str:
    if not dispatcher.left:
        return "all runs have ended"
    return f"{dispatcher.left} of {dispatcher.planned} runs have not ended"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")
