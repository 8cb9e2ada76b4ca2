"""Run the benchmarks and print one table; exit 1 if a goal of a whole run is not met."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.data import data
from tests.benchmarks.distributed import distributed
from tests.benchmarks.mixed import mixed
from tests.benchmarks.overhead import overhead
from tests.benchmarks.report import Measurement, show


def main() -> int:
    """All benchmarks, or those named."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="overhead|distributed|mixed|data", help="only these")
    parser.add_argument("--quick", action="store_true", help="few trials and a small store: to see that it works")
    arguments = parser.parse_args()
    trials, nested, both, images, repeats = (20, 1, 1, 4, 3) if arguments.quick else (200, 3, 5, 32, 5)
    benchmarks = {
        "data": lambda folder: data(folder, images, repeats),
        "overhead": lambda folder: overhead(folder, trials),
        "distributed": lambda folder: distributed(folder, nested),
        "mixed": lambda folder: mixed(folder, both),
    }
    unknown = set(arguments.names) - set(benchmarks)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(benchmarks)}")
    load = os.getloadavg()[0]
    measured: list[Measurement] = []
    for name in arguments.names or benchmarks:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="hsray-bench-") as folder:
            measured += benchmarks[name](Path(folder))
    size = "quick: the goals are for a whole run" if arguments.quick else "whole run"
    show(measured, f"{size}; load {load:.1f} before, {os.getloadavg()[0]:.1f} after")
    return 0 if arguments.quick or all(row.met for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
