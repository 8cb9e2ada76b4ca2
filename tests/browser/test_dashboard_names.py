"""Names in MLflow are anybody's: the dashboard shows them as they are. And the axes name the score that is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hsray.dashboards.settings import VARIABLE, Settings
from hsray.leaderboard.mirror import sync
from hsray.tracking import Tracker
from tests.browser.conftest import sync_api
from tests.browser.scene import serve, stop
from tests.browser.window import Watched
from tests.tracking.folders import HERE, FakeRun

NAMES = {"runet": "![x](http://elsewhere.invalid/p.png)", "hypersl": "*a* $b$ :red[c] `d`"}
DATASET = "1. [scene](http://elsewhere.invalid/) <b>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials and finals of two strategies with such names, in `mlflow.db`."""
    folder = tmp_path_factory.mktemp("names")
    generator = np.random.default_rng(0)
    for strategy, name in NAMES.items():
        tags = {"hsray.strategy": name, "hsray.dataset": DATASET}
        FakeRun(folder / "runs" / "demo", "trial", 0, strategy=strategy).start(**tags).epochs(0, 3).end()
        for seed in range(3):
            final = FakeRun(folder / "runs" / "demo", "final", seed, strategy=strategy)
            final.start(**tags).epochs(0, 3).end_final(generator)
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", "demo")
    tracker.reconcile(folder / "runs" / "demo", HERE)
    assert tracker.flush(120) == 0
    tracker.close()
    return folder


def test_a_name_is_no_markdown(browser: sync_api.Browser, folder: Path) -> None:
    served = serve(folder)
    window = Watched(browser)
    try:
        page = window.open(f"{served.url}/compare?view=pairwise")
        a, b = sorted(NAMES.values())
        assert page.locator("h3").first.inner_text() == f"{a} minus {b}"
        page = window.open(f"{served.url}/compare?view=labels")
        assert page.locator("h3").first.inner_text() == DATASET
        assert not window.faults  # the picture was not asked for
    finally:
        window.context.close()
        stop(served)


def test_the_front_names_the_score_that_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.testing.v1 import AppTest

    sync(folder / "mirror", f"sqlite:///{folder / 'mlflow.db'}")
    told = Settings(str(folder / "mirror"), str(folder / "runs"), "data", f"sqlite:///{folder / 'mlflow.db'}")
    monkeypatch.setenv(VARIABLE, told.to_environment(sign_in=False)[VARIABLE])
    page = AppTest.from_string("from hsray.dashboards import compare\ncompare.page()", default_timeout=30)
    page.query_params.update(view="cost", metric="accuracy")
    page.run()
    front, _ = (json.loads(chart.proto.spec) for chart in page.get("vega_lite_chart"))
    titles = {layer["encoding"]["y"]["title"] for layer in front["layer"]}
    assert titles == {"pixel accuracy (%)"}
