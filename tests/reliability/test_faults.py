"""Faults that the short form of `make chaos` leaves out, one sweep each, held to the same checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.chaos import SHORT
from tests.reliability.checks import Expected
from tests.reliability.disk import SmallDisk
from tests.reliability.faults import FAULTS
from tests.reliability.sweeps import disturbed, undisturbed

SEED = 4


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in SHORT])
def test_after_a_fault_the_same_command_ends_as_if_nothing_had_happened(
    name: str, expected: Expected, tmp_path: Path
) -> None:
    if FAULTS[name].disk and not SmallDisk.possible():
        pytest.skip("only root may mount a small file system")
    if "workers" in FAULTS[name].shapes:
        undisturbed(tmp_path / "undisturbed", "workers", expected)
    outcome = disturbed(tmp_path / name, name, 1, SEED, expected)
    assert outcome.clean, "\n".join(outcome.findings.words + outcome.complaints)
