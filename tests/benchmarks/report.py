"""One table of what was measured, and on what it was measured."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

PACKAGES = ("hsray", "ray", "torch", "optuna", "mlflow", "h5py", "numpy")


@dataclass(frozen=True)
class Measurement:
    """One row. A goal is an upper bound; rows without one are for information."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    note: str = ""

    @property
    def met(self) -> bool:
        return self.goal is None or self.value < self.goal


def show(measurements: list[Measurement], settings: str) -> None:
    """Print machine, versions, settings and the table."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    for line in (machine(), versions(), settings):
        console.print(line, highlight=False, soft_wrap=True)
    table = Table()
    table.add_column("measurement")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("goal", justify="right", no_wrap=True)
    table.add_column("met")
    table.add_column("note")
    for row in measurements:
        goal = "" if row.goal is None else f"< {row.goal:g} {row.unit}"
        met = "" if row.goal is None else ("[green]yes[/]" if row.met else "[red]no[/]")
        table.add_row(row.name, f"{row.value:.3f} {row.unit}", goal, met, row.note)
    console.print(table)


def machine() -> str:
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = psutil.virtual_memory().total / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"machine: {cores} cores ({model.partition(':')[2].strip()}), {memory:.0f} GiB, {platform.system()}"


def versions() -> str:
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
