"""A mirror cut off or changed anywhere: it is refused or read anew, never believed."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from hsray.errors import HsrayError
from hsray.leaderboard.mirror import Mirror, sync
from tests.reliability.leaderboard.contents import Content, content, fresh, same

LENGTHS = 12


@pytest.fixture(scope="module")
def whole(many: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Content]:
    uri = f"sqlite:///{many}"
    folder = tmp_path_factory.mktemp("whole") / "mirror"
    return uri, folder, fresh(folder, uri)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def refused_or_right(folder: Path, expected: Content) -> bool:
    """Whether it is refused; where it is read, it is right."""
    try:
        found = content(folder)
    except HsrayError as error:
        assert str(folder) in str(error.where) or folder.name in str(error), "it says where"
        return True
    same(found, expected)
    return False


def mended_or_refused(folder: Path, uri: str, expected: Content, *, told: bool = True) -> None:
    """The next sync: right afterwards and `told`, or it says why not and what to do."""
    try:
        synced = sync(folder, uri)
    except HsrayError as error:
        assert error.do, "it says what to do"
        return
    same(content(folder), expected)
    assert synced.notes or not told, "that it was damaged is told"


def test_cut_off_at_any_length(whole: tuple[str, Path, Content], tmp_path: Path) -> None:
    uri, original, expected = whole
    seed = random.Random(1)
    for name in files(original):
        size = (original / name).stat().st_size
        lengths = {0, 1, size - 1, *(seed.randrange(size) for _ in range(LENGTHS))}
        for length in sorted(lengths):
            folder = Path(shutil.copytree(original, tmp_path / "mirror"))
            with (folder / name).open("r+b") as file:
                file.truncate(length)
            refused = refused_or_right(folder, expected)
            assert refused, f"{name} cut off at {length} of {size} is not noticed"
            if length in (0, size - 1):
                mended_or_refused(folder, uri, expected)
            shutil.rmtree(folder)


def test_a_file_is_gone(whole: tuple[str, Path, Content], tmp_path: Path) -> None:
    uri, original, expected = whole
    for name in files(original):
        folder = Path(shutil.copytree(original, tmp_path / "mirror"))
        (folder / name).unlink()
        assert refused_or_right(folder, expected)
        sync(folder, uri)
        same(content(folder), expected)
        shutil.rmtree(folder)


def test_changed_bytes(whole: tuple[str, Path, Content], tmp_path: Path) -> None:
    """One byte, of all there are. In the table of contents it may be one that says nothing, such as white space."""
    uri, original, expected = whole
    seed = random.Random(2)
    for name in files(original):
        in_parts = name.startswith("parts/")
        for _ in range(4):
            folder = Path(shutil.copytree(original, tmp_path / "mirror"))
            path = folder / name
            damaged = bytearray(path.read_bytes())
            damaged[seed.randrange(len(damaged))] ^= 0x5A
            path.write_bytes(damaged)
            assert refused_or_right(folder, expected) or not in_parts
            mended_or_refused(folder, uri, expected, told=in_parts)
            shutil.rmtree(folder)


@pytest.mark.parametrize("version", [0, 2, 999, "1", None, []])
def test_another_format(whole: tuple[str, Path, Content], tmp_path: Path, version: object) -> None:
    uri, original, _ = whole
    folder = Path(shutil.copytree(original, tmp_path / "mirror"))
    path = folder / "mirror.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": version}))
    before = path.read_bytes()
    for act in (lambda: content(folder), lambda: sync(folder, uri), lambda: sync(folder, uri, full=True)):
        with pytest.raises(HsrayError) as refused:
            act()
        assert refused.value.do
    assert path.read_bytes() == before, "it is left as it is"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"format": 1}', '{"format": 1, "sources": [], "number": 0, "retired": {}}']
)
def test_no_table_of_contents(whole: tuple[str, Path, Content], tmp_path: Path, text: str) -> None:
    uri, original, _ = whole
    folder = Path(shutil.copytree(original, tmp_path / "mirror"))
    (folder / "mirror.json").write_text(text)
    for act in (lambda: content(folder), lambda: sync(folder, uri)):
        with pytest.raises(HsrayError):
            act()


def test_a_folder_that_is_no_mirror(many: Path, tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("mine")
    with pytest.raises(HsrayError, match="holds other things"):
        sync(folder, f"sqlite:///{many}")
    assert [path.name for path in folder.iterdir()] == ["chapter.tex"]
    for absent in (folder, tmp_path / "nowhere", folder / "chapter.tex"):
        with pytest.raises(HsrayError):
            Mirror(absent, offline=True).runs().collect()
