"""The errors a user meets. Each says what is wrong, where, and what to do about it."""

from __future__ import annotations

from typing import Any


class HsrayError(Exception):
    """The work failed (exit code 1)."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, do: str | None = None) -> None:
        self.what, self.where, self.do = what, where, do
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.do:
            lines.append(f"  do:    {self.do}")
        return "\n".join(lines)

    def __reduce__(self):  # Ray pickles errors; keyword-only arguments need a hand.
        return _rebuild, (type(self), self.what, self.where, self.do)


class RequestError(HsrayError):
    """What was asked for cannot be done as asked (exit code 2); nothing was written."""

    exit_code = 2


class TrainingFailed(HsrayError):
    """A run ended by its own doing, such as a loss that is not finite. It counts, and the sweep goes on."""


class RunStopped(HsrayError):
    """A run was asked to stop: it saved where it was, left no result, and goes on from there another time."""


class MachineFault(HsrayError):
    """The machine failed a run: a full disk, a folder that cannot be written. The run stays open and does not count."""


def invalid_values(error: Any, where: str = "") -> list[RequestError]:
    """One error for every fault of a pydantic ValidationError, with its dotted key and the value."""
    found = []
    for fault in error.errors():
        key = ".".join(map(str, fault["loc"]))
        what = f"{key}: {fault['msg']} (got {fault['input']!r})"
        found.append(RequestError(what, where=f"{where}: {key}" if where else None))
    return found


def _rebuild(cls: type[HsrayError], what: str, where: str | None, do: str | None) -> HsrayError:
    return cls(what, where=where, do=do)


def problems(found: list[RequestError], heading: str) -> RequestError:
    """One error out of all problems found, so that a user mends them in one go."""
    if len(found) == 1:
        return found[0]
    body = "\n".join(f"{number}. {problem}" for number, problem in enumerate(found, 1))
    return RequestError(f"{heading}: {len(found)} problems\n{body}")
