"""What a sweep starts at its end: python -m hsray.report NAME FOLDER, with MLFLOW_TRACKING_URI in the environment.

A process of its own, so that nothing that goes wrong in it concerns the sweep. Writes FOLDER/report.html and logs it
to MLflow. Exit 1: one of the two failed, and the last line of standard error says why.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from hsray.errors import HsrayError
from hsray.leaderboard.mirror import Mirror, sync
from hsray.report.content import EXPERIMENT, collect
from hsray.report.logged import NAME, log_report
from hsray.report.page import page
from hsray.runlog import write_atomically
from hsray.tracking.client import brief


def main(experiment: str, folder: Path, uri: str) -> int:
    try:
        with tempfile.TemporaryDirectory(prefix="hsray-report-") as mirror:
            sync(Path(mirror), uri, [experiment])
            file = folder / EXPERIMENT
            text = file.read_text("utf-8") if file.is_file() else None
            html = page(collect(experiment, Mirror(Path(mirror), uri=uri), uri, experiment_file=text))
        write_atomically(folder / NAME, html.encode())
        log_report(experiment, uri, folder / NAME)
    except HsrayError as error:
        print(error.what, file=sys.stderr)
    except Exception as error:  # noqa: BLE001 (whatever it is, such as a store's own errors: the sweep tells one line)
        print(f"{type(error).__name__}: {brief(error, uri)}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), os.environ["MLFLOW_TRACKING_URI"]))
