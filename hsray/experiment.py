"""The experiment file: what a sweep compares, what it tunes, and for how long. Every error is reported at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from hsray.axes import axis_name, axis_names, followed, follows
from hsray.errors import RequestError, problems
from hsray.variants import smoke_variant

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Dimension(_Strict):
    """A searched hyperparameter: exactly one of `log`, `uniform`, `int`, `choice`; `when` makes it conditional."""

    log: tuple[float, float] | None = Field(None, description="low and high of a log-uniform number")
    uniform: tuple[float, float] | None = Field(None, description="low and high of a uniform number")
    whole: tuple[int, int] | None = Field(None, alias="int", description="low and high of a whole number, inclusive")
    choice: list[str | bool | int | float | None] | None = Field(None, min_length=1, description="one of these")
    when: dict[str, str | bool | int | float] | None = Field(None, description="only where these have these values")

    @model_validator(mode="after")
    def _one_kind(self) -> Dimension:
        given = [kind for kind in ("log", "uniform", "whole", "choice") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of log, uniform, int, choice")
        bounds = self.log or self.uniform or self.whole
        if bounds and not bounds[0] < bounds[1]:
            raise ValueError(f"the low end {bounds[0]} is not below the high end {bounds[1]}")
        if self.log and self.log[0] <= 0:
            raise ValueError("a log range starts above 0")
        return self


class Budget(_Strict):
    """The same for every cell. `trials: N` means up to N in all, however often the sweep is started."""

    trials: int = Field(20, ge=1)
    epochs: int = Field(200, ge=1)
    patience: int | None = Field(30, ge=1, description="epochs without a better validation Jaccard; null: never stop")
    grace: int | None = Field(
        None, ge=1, description="first rung of the bracket in epochs; left out: a ninth of epochs"
    )
    factor: int = Field(3, ge=2, description="of so many trials at a rung, one goes on")
    halving: bool = Field(True, description="false: every trial trains to its end")

    @property
    def first_rung(self) -> int:
        return self.grace or max(1, self.epochs // self.factor**2)


class Final(_Strict):
    """The winners are trained again under seeds 0 … seeds-1 and read once on the test set."""

    seeds: int = Field(10, ge=0)


_by_axis = Discriminator(lambda value: "by axis" if isinstance(value, dict) else "value")
_ONE = Field(min_length=1, max_length=1)
_Workers = Annotated[int, Field(ge=1)]
_Gpus = Literal["auto"] | Annotated[float, Field(ge=0)]
_Cpus = Annotated[float, Field(gt=0)]


class Resources(_Strict):
    """What each worker of a run gets, and how many workers it has.

    `workers`, `gpus` and `cpus` may follow from an axis: `{workers: {strategy: {fc: 1, runet: 2}}}`.
    """

    workers: Annotated[
        Annotated[_Workers, Tag("value")] | Annotated[dict[str, dict[str, _Workers]], _ONE, Tag("by axis")], _by_axis
    ] = Field(1, description="1: in an actor; more: Ray Train with DDP")
    gpus: Annotated[
        Annotated[_Gpus, Tag("value")] | Annotated[dict[str, dict[str, _Gpus]], _ONE, Tag("by axis")], _by_axis
    ] = Field("auto", description="auto: one where there are GPUs, else none; shares (0.5) are allowed")
    cpus: Annotated[
        Annotated[_Cpus, Tag("value")] | Annotated[dict[str, dict[str, _Cpus]], _ONE, Tag("by axis")], _by_axis
    ] = 1.0
    custom: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="Ray's custom resources: {'accelerator_type:A100': 0.001}"
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="only on nodes with these Ray labels: {region: eu, disk: 'in(ssd,nvme)'}"
    )
    concurrent: int | None = Field(None, ge=1, description="most runs at a time; left out: as many as fit")

    def of(self, chosen: dict[str, Any]) -> Resources:
        """What a run gets under these values of axes; what follows from another axis is left as it is."""
        by_axis = {name: getattr(self, name) for name in ("workers", "gpus", "cpus")}
        return self.model_copy(update={name: followed(value, chosen) for name, value in by_axis.items()})

    def kinds(self) -> list[Resources]:
        """All that `of` can give."""
        found = [self]
        for axis, names in self.follows().items():
            found = [one.of({axis: name}) for one in found for name in names]
        return list({one.model_dump_json(): one for one in found}.values())

    @property
    def several_workers(self) -> bool:
        """Does any run have several?"""
        by_axis = follows(self.workers)[1]
        return any(workers != 1 for workers in (by_axis.values() or [self.workers]))

    def follows(self) -> dict[str, list[str]]:
        """The axes that something follows from, with the values that are named."""
        found: dict[str, list[str]] = {}
        for value in (self.workers, self.gpus, self.cpus):
            axis, by_value = follows(value)
            if axis is not None:
                found[axis] = list(dict.fromkeys([*found.get(axis, []), *by_value]))
        return found


class Caps(_Strict):
    """Where a sweep stops, as cleanly as by Ctrl-C. The same command goes on when a cap is higher."""

    hours: float | None = Field(None, gt=0, description="wall time of one command")
    device_hours: float | None = Field(None, gt=0, description="of all runs so far: time since handed out × workers")
    disk_gb: float | None = Field(None, gt=0, description="of the sweep's folder and its features, in 10⁹ bytes")


class Experiment(_Strict):
    """An experiment file."""

    name: str = Field(pattern=NAME)
    task: Literal["segmentation", "spectral"]
    axes: dict[str, list[Any]] = Field(description="what the table compares: every combination is a cell")
    without: list[dict[str, Any]] = Field(
        default_factory=list,
        description="combinations that are left out: {dataset: hyko2, strategy: [liunet, justo-liunet]}",
    )
    search: dict[str, Dimension] = Field(default_factory=dict, description="what is tuned inside every cell")
    fixed: dict[str, Any] = Field(
        default_factory=dict,
        description="hyperparameters that are the same everywhere, or follow from an axis: "
        "{batch: {dataset: {hyko2: 16, hsidrive: 32}}}",
    )
    budget: Budget = Budget()
    final: Final = Final()
    resources: Resources = Resources()
    caps: Caps = Caps()
    keep: Literal["best", "finals", "all"] = Field(
        "best", description="weights that are kept: the finals' and each cell's best trial's; the finals'; all"
    )
    smoke: dict[str, Any] = Field(
        default_factory=dict, description="what --smoke puts in the place of the above, to show quickly that all works"
    )

    @field_validator("axes")
    @classmethod
    def _axes_hold_something(cls, axes: dict[str, list[Any]]) -> dict[str, list[Any]]:
        empty = [name for name, values in axes.items() if not values]
        if empty:
            raise ValueError(f"the axis {', '.join(empty)} is empty; give it at least one value or remove it")
        missing = [name for name in ("dataset", "strategy") if name not in axes]
        if missing:
            raise ValueError(f"the axis {' and '.join(missing)} is missing; a list with one value is enough")
        for name, values in axes.items():
            if any(value in values[:place] for place, value in enumerate(values)):
                raise ValueError(f"the axis {name} names a value twice")
        return axes

    @model_validator(mode="after")
    def _said_once(self) -> Experiment:
        for first, second in (("axes", "search"), ("axes", "fixed"), ("search", "fixed")):
            both = sorted(set(getattr(self, first)) & set(getattr(self, second)))
            if both:
                raise ValueError(f"{', '.join(both)} stands in both {first} and {second}; keep one")
        following = {f"fixed.{name}": value for name, value in self.fixed.items()}
        following |= {f"resources.{name}": getattr(self.resources, name) for name in ("workers", "gpus", "cpus")}
        for name, value in following.items():
            axis, by_value = follows(value)
            if axis is not None:
                if axis not in self.axes:
                    raise ValueError(f"{name}: {axis} is no axis")
                if missing := [axis_name(one) for one in self.axes[axis] if axis_name(one) not in by_value]:
                    raise ValueError(f"{name}: no value for {axis} {', '.join(missing)}")
        for number, one in enumerate(self.without):
            for axis, values in one.items():
                if axis not in self.axes:
                    raise ValueError(f"without.{number}: {axis} is no axis")
                names = [axis_name(value) for value in self.axes[axis]]
                if never := [name for name in axis_names(values) if name not in names]:
                    raise ValueError(f"without.{number}.{axis}: there is no {', '.join(never)} on this axis")
        known: set[str] = set()
        for name, dimension in self.search.items():
            for condition, value in (dimension.when or {}).items():
                choices = self.search[condition].choice if condition in known else self.axes.get(condition)
                if choices is None and condition not in self.fixed:
                    raise ValueError(f"search.{name}.when: {condition} is no axis and is not searched before {name}")
                if choices is not None and value not in choices:
                    raise ValueError(f"search.{name}.when: {condition} is never {value!r}")
            known.add(name)
        if "fraction" in self.search and self.search["fraction"].choice is None:
            raise ValueError("search.fraction: a searched fraction is a choice, such as {choice: [0.1, 0.5, 1.0]}")
        return self


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-5 is a number, and a key that stands twice is an error."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]  # << takes over from elsewhere
    keys = [loader.construct_object(key) for key in own]
    twice = {str(key) for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.constructor.ConstructorError(
            None, None, f"the key {', '.join(sorted(twice))} stands twice", node.start_mark
        )
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_experiment(path: Path, *, smoke: bool = False) -> Experiment:
    """Read and check an experiment file, or its smoke variant.

    Raises:
        RequestError: the file is not there or not YAML; or all problems of its content in one message.
    """
    try:
        content = yaml.load(path.read_text("utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise RequestError(f"there is no experiment file '{path}'", do="check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        raise RequestError(f"this is not a YAML file: {error}", where=str(path), do="mend the file") from None
    if not isinstance(content, dict):
        raise RequestError("an experiment file is a mapping", where=str(path), do="see experiments/ for examples")
    return parse_experiment(smoke_variant(content, str(path)) if smoke else content, str(path))


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` with the value read as in an experiment file: `lr=1e-3` → ("lr", 0.001). Raises RequestError."""
    key, found, value = text.partition("=")
    if not found or not key:
        raise RequestError(f"'{text}' is not key=value", where="--set", do="write for example --set lr=1e-3")
    try:
        return key, yaml.load(value, Loader=_Loader)
    except yaml.YAMLError:
        raise RequestError(f"the value of '{text}' cannot be read", where="--set", do="quote it as in YAML") from None


def parse_experiment(content: dict[str, Any], where: str = "experiment") -> Experiment:
    """Check the content of an experiment file. Raises RequestError with all problems."""
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        raise problems([_problem(e, where) for e in error.errors()], f"{where} is not a valid experiment") from None


def _problem(error: Any, where: str) -> RequestError:
    dotted = ".".join(str(part) for part in error["loc"] if part not in ("value", "by axis"))
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        model: dict[str, type[BaseModel]] = {
            "": Experiment, "budget": Budget, "final": Final, "resources": Resources, "caps": Caps,
        }  # fmt: skip
        parent = str(error["loc"][0]) if len(error["loc"]) > 1 else ""
        owner: type[BaseModel] = Dimension if parent == "search" else model.get(parent, Experiment)
        fields = ", ".join(field.alias or name for name, field in owner.model_fields.items())
        return RequestError(f"unknown key '{error['loc'][-1]}'", where=f"{where}: {dotted}", do=f"known keys: {fields}")
    if error["type"] == "missing":
        return RequestError(f"the key '{error['loc'][-1]}' is missing", where=f"{where}: {dotted}", do="add it")
    got = "" if isinstance(error.get("input"), dict | list) else f" (got {error.get('input')!r})"
    return RequestError(f"{message}{got}", where=f"{where}: {dotted}" if dotted else where)
