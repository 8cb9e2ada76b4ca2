from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.errors import HsrayError
from hsray.leaderboard.confusions import read_confusions
from tests.leaderboard.test_compare import IMAGES, NAMES, matrices


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "confusion.npz"
    write(path)
    return path


def write(path: Path, **parts: Any) -> None:
    known = matrices(0.5, 0)
    given_parts: dict[str, Any] = {
        "confusion_NKK": known.confusion_NKK,
        "images_N": np.array(known.images_N),
        "class_names_K": np.array(NAMES),
        "ignore_id": np.int64(0),
    } | parts
    np.savez_compressed(path, **{name: part for name, part in given_parts.items() if part is not None})


def test_confusions_are_read_as_they_were_written(file: Path) -> None:
    found, expected = read_confusions(file), matrices(0.5, 0)
    assert (found.confusion_NKK == expected.confusion_NKK).all()
    assert (found.images_N, found.class_names_K, found.ignore_id) == (IMAGES, NAMES, 0)
    turned = found.of_images(IMAGES[::-1])
    assert (turned[0] == expected.confusion_NKK[-1]).all()


@pytest.mark.parametrize(
    "parts",
    [
        {"confusion_NKK": None},
        {"confusion_NKK": np.zeros((14, 3, 2), int)},
        {"confusion_NKK": np.zeros((0, 3, 3), int)},
        {"confusion_NKK": np.ones((14, 3, 3))},
        {"confusion_NKK": -np.ones((14, 3, 3), int)},
        {"images_N": np.array(IMAGES[:-1])},
        {"images_N": np.array(["same"] * 14)},
        {"images_N": np.array(IMAGES, dtype=object)},
        {"class_names_K": np.array(["a"])},
        {"ignore_id": np.array([0, 1])},
        {"ignore_id": np.float64(0.5)},
        {"ignore_id": np.int64(3)},
        {"ignore_id": np.int64(-1)},
    ],
)
def test_files_that_hold_something_else_are_refused_by_name(file: Path, parts: dict[str, Any]) -> None:
    write(file, **parts)
    with pytest.raises(HsrayError, match="cannot be read") as raised:
        read_confusions(file)
    assert raised.value.where == str(file)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_to_a_file_is_a_traceback(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    write(path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        read_confusions(path)
    except HsrayError as error:
        assert error.where == str(path)
