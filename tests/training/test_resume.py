"""A run stopped anywhere, any number of times, ends as if it had never been stopped: to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from hsray.errors import RunStopped
from hsray.runlog import read_epochs
from hsray.strategies.strategy import strategy
from hsray.training import RunConfig, Training, fit, stopping
from tests.tiny import tiny_store

CPU = torch.device("cpu")
# Batch norm, dropout, several passes an epoch; evaluation in windows; a schedule that depends on the update.
CROPS = RunConfig(
    task="segmentation", dataset="tiny", seed=3, test=True,
    strategy=strategy({"base": "runet", "name": "small", "decoder": {"width": 4, "dropout": 0.3}}),
    training=Training(lr=3e-3, batch=3, epochs=3, crop=8, flip=0.5, min_updates=4, window=12, schedule="cosine"),
)  # fmt: skip
# Pixels drawn anew for every pass.
SPECTRA = RunConfig(
    task="spectral", dataset="tiny", seed=1, test=True,
    strategy=strategy({"base": "mlp", "name": "small", "decoder": {"hidden": 16, "dropout": 0.3}}),
    training=Training(lr=3e-3, batch=64, epochs=4, pixels_per_image=30, min_updates=5, clip=1.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    tiny_store(root)
    return root


@pytest.fixture(autouse=True, scope="module")
def _ask_every_time() -> Iterator[None]:
    before, stopping.EVERY = stopping.EVERY, 0.0
    yield
    stopping.EVERY = before


def after(questions: int) -> Callable[[], bool]:
    """Asks a run to stop at so many questions."""
    asked = count(1)
    return lambda: next(asked) >= questions


def run(config: RunConfig, data: Path, folder: Path, stops: list[int]) -> dict[str, Any]:
    """Start, be stopped after so many questions each time, go on, and end."""
    folder.mkdir()
    config = config.model_copy(update={"dataset": str(data / "tiny")})
    for questions in stops:
        try:
            return fit(config, folder, lambda e, m: None, device=CPU, stop=after(questions))
        except RunStopped:
            assert not (folder / "result.json").exists()
    return fit(config, folder, lambda e, m: None, device=CPU)


def leaves(folder: Path, result: dict[str, Any]) -> tuple[Any, ...]:
    """What a run ends with but for times."""

    def timeless(metrics: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in metrics.items() if not name.startswith("cost/")}

    log = [(record["epoch"], timeless(record["metrics"])) for record in read_epochs(folder)]
    weights = {name: tensor.numpy().tobytes() for name, tensor in load_file(folder / "best.safetensors").items()}
    rest = {name: value for name, value in result.items() if name not in ("metrics", "started", "ended")}
    return log, weights, timeless(result["metrics"]), rest


@pytest.mark.parametrize(("config", "examples"), [(CROPS, 4), (SPECTRA, 8)], ids=["crops", "spectra"])
def test_a_run_stopped_anywhere_ends_as_if_never_stopped(
    data: Path, tmp_path: Path, config: RunConfig, examples: int
) -> None:
    numbers = count()
    asked = []
    (tmp_path / "whole").mkdir()
    whole = config.model_copy(update={"dataset": str(data / "tiny")})
    result = fit(whole, tmp_path / "whole", lambda e, m: None, device=CPU, stop=lambda: bool(asked.append(1)))
    expected = leaves(tmp_path / "whole", result)

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(1, len(asked)), min_size=1, max_size=3))
    def check(stops: list[int]) -> None:
        folder = tmp_path / str(next(numbers))
        assert leaves(folder, run(config, data, folder, stops)) == expected

    check()
