"""The live view of a sweep: cells, trials done, best validation score, time left."""

from __future__ import annotations

import time
from statistics import mean
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from hsray.sweep.dispatcher import CellState, Dispatcher


class LiveView:
    """A table that follows the dispatcher. Where there is no terminal, a line now and then instead."""

    EVERY = 20.0  # seconds between lines without a terminal

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True)
        self.quiet = quiet
        self.message = "starting Ray"
        self.dispatcher: Dispatcher | None = None
        self.slots = 1
        self.started = time.monotonic()
        self._said = 0.0
        self._live = Live(console=self.console, get_renderable=self.render, refresh_per_second=2, transient=True)

    def __enter__(self) -> LiveView:
        if not self.quiet and self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._live.is_started:
            self._live.stop()

    def say(self, message: str) -> None:
        """What is going on beside the trials."""
        self.message = message
        if not self.quiet and not self.console.is_terminal:
            self.console.print(message)

    def tell(self, line: str) -> None:
        """What people have to know, and can still read when the live view is gone."""
        if not self.quiet:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def watch(self, dispatcher: Dispatcher, slots: int) -> None:
        self.dispatcher, self.slots = dispatcher, slots
        self.say(f"{len(dispatcher.cells)} cells, {slots} runs at a time")
        announce = dispatcher.changed

        def changed(folder) -> None:
            announce(folder)
            self._line()

        dispatcher.changed = changed

    def _line(self) -> None:
        if self.quiet or self.console.is_terminal or time.monotonic() - self._said < self.EVERY:
            return
        self._said = time.monotonic()
        states = self._states()
        trials = sum(state.trials_ended for state in states), sum(state.study.planned for state in states)
        finals = sum(state.finals_done for state in states), sum(state.finals_planned for state in states)
        left = self._left()
        self.console.print(
            f"{_clock(time.monotonic() - self.started)}  trials {trials[0]}/{trials[1]}  "
            f"finals {finals[0]}/{finals[1]}" + (f"  about {_clock(left)} left" if left is not None else "")
        )

    def render(self) -> Group:
        """The table as it stands now."""
        head = Spinner("dots", Text(f" {_clock(time.monotonic() - self.started)}  {self.message}"))
        if self.dispatcher is None:
            return Group(head)
        table = Table(box=None, pad_edge=False)
        table.add_column("cell")
        for title in ("trials", "stopped", "finals", "best validation J"):
            table.add_column(title, justify="right")
        for state in self._states():
            cell = state.study.cell
            counts = f"{state.trials_ended}/{state.study.planned}", f"{state.finals_done}/{state.finals_planned}"
            best = "–" if state.best is None else f"{100 * state.best:.1f} %"
            # A copy: the view is drawn in a thread of its own while runs come and go.
            running = sum(job.cell == cell.id for job in list(self.dispatcher.live.values()))
            name = "  ".join(str(value) for value in cell.axes.values())
            row = (name + " " + "●" * running, counts[0], str(state.stopped or ""), counts[1], best)
            table.add_row(*row, style="dim" if not running and counts[1] == "0/0" else None)
        left = self._left()
        foot = "" if left is None else f"about {_clock(left)} left"
        failed = sum(len(state.failures) for state in self._states())
        return Group(head, table, Text(foot + (f"  {failed} runs failed" if failed else ""), style="cyan"))

    def _states(self) -> list[CellState]:
        return list(self.dispatcher.cells.values()) if self.dispatcher else []

    def _left(self) -> float | None:
        """From the mean time of what has ended; None before anything has."""
        states = self._states()
        ended = [seconds for state in states for seconds in state.seconds]
        if not ended:
            return None
        work = 0.0
        for state in states:
            work += state.left * mean(state.seconds or ended)
        return work / self.slots


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
