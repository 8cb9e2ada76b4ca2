"""After a demo: its table equals one recomputed from the stored confusion matrices, to 1e-6.

Run in the demo's folder: python check_demo.py NAME_OF_THE_SWEEP
"""

from __future__ import annotations

import sys

from hsray.leaderboard import recompute, table
from hsray.leaderboard.runs import load
from hsray.scores import METRICS


def main(name: str, uri: str = "sqlite:///mlflow.db") -> None:
    printed, again = (table(frame).rows for frame in (load(name, uri), recompute(name, uri)))
    assert len(printed) == len(again) == 6, "three strategies at two fractions"
    worst = max(abs(printed[metric] - again[metric]).max() for metric in METRICS)
    assert worst < 1e-6, f"the table and the confusion matrices differ by {worst}"
    print(f"{name}: {len(printed)} rows, table and confusion matrices differ by {worst:.1e} at most")


if __name__ == "__main__":
    main(sys.argv[1])
