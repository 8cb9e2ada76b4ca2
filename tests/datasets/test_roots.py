"""A path in a file that somebody else wrote does not climb out of its folder."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from hsray.datasets.own import read_description
from hsray.errors import RequestError
from hsray.roots import inner
from hsray.strategies.strategy import strategy


@pytest.mark.parametrize(
    ("path", "out"),
    [("a/b.npy", False), ("a/../b", False), ("/whole/path", False), ("../b", True), ("a/../../b", True), ("..", True)],
)
def test_only_what_climbs_out_is_refused(path: str, out: bool) -> None:
    with pytest.raises(ValueError, match="leads out") if out else nullcontext():
        assert inner(path) == path


def test_a_description_names_every_path_that_leads_out(tmp_path: Path) -> None:
    file = tmp_path / "field.toml"
    file.write_text(
        'name = "f"\nkind = "scene"\ncube = "../c.npy"\nlabels = "a/../../l.npy"\n'
        "splits = {grid = [2, 2], train = 0.5, val = 0.2, test = 0.3}\n"
    )
    with pytest.raises(RequestError, match=r"(?s)leads out.*cube.*leads out.*labels"):
        read_description(file)


@pytest.mark.parametrize("weights", ["../mine.pth", "weights:../../mine.pth"])
def test_weights_of_a_recipe_lie_below_this_folder_or_are_named_whole(weights: str) -> None:
    recipe = {"base": "hypersl-full", "name": "x", "encoder": {"weights": weights}}
    with pytest.raises(RequestError, match="leads out"):
        strategy(recipe)
    assert strategy({**recipe, "encoder": {"weights": "/somewhere/mine.pth"}}).encoder is not None
