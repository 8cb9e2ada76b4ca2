"""A pretraining recipe: all that the weights depend on besides the data themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hsray.digest import digest
from hsray.errors import RequestError
from hsray.roots import InnerPath

Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Origin(_Strict):
    """Where spectra come from, for the model card, and how large their part in the batches is."""

    name: str
    sensor: str = "not stated"
    platform: str = "not stated"
    terms: str = "not stated"
    weight: float = Field(default=1.0, gt=0)


class Source(Origin):
    """One npz file of spectra."""

    file: InnerPath  # relative to the data folder
    spectra: str  # the array's key
    wavelengths: str
    unit: Literal["nm", "um"] = "nm"
    band_axis: int = -1
    good_bands: str | None = None  # key of a band mask; bands with 0 are dropped
    nodata: float | None = None
    scale: float = Field(default=1.0, gt=0)  # to reflectance


class StoreSource(Origin):
    """A prepared dataset: by its name under the data folder, or by a path. Its spectra are read as they are drawn."""

    path: InnerPath | None = None
    split: Literal["train", "val", "test"] = "train"


class EncoderShape(_Strict):
    """A HyperSL encoder, which learns by `objective`."""

    name: Literal["hypersl"] = "hypersl"
    width: int = Field(default=64, ge=8)
    depth: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    decoder_depth: int = Field(default=2, ge=1)


class PCAShape(_Strict):
    """The encoder `spectral-pca`: it learns how the spectra of all steps vary, and nothing else."""

    name: Literal["spectral-pca"]
    spacing_nm: float = Field(default=5.0, gt=0)  # of the grid
    rank: int = Field(default=96, ge=1)  # of the covariance that is kept
    components: int = Field(default=40, ge=1)
    power: Share = 0.5


class Grid(_Strict):
    """The random band grid of a batch: how many bands, over which part of the spectrum."""

    bands: tuple[Annotated[int, Field(ge=4)], int] = (32, 96)
    range_nm: tuple[float, float] = (350.0, 2500.0)
    shortest_nm: float = Field(default=200.0, gt=0)  # the narrowest range drawn
    focus: Share = 0.0  # share of the grids that lie within `focus_nm`
    focus_nm: tuple[float, float] = (400.0, 1000.0)
    jitter: float = Field(default=0.3, ge=0, lt=0.5)  # of the spacing

    @model_validator(mode="after")
    def _ascending(self) -> Grid:
        for name in ("bands", "range_nm", "focus_nm"):
            low, high = getattr(self, name)
            if low > high or (low == high and name != "bands"):
                raise ValueError(f"{name}: {low} to {high} is no range")
        return self


class Augmentation(_Strict):
    """What happens to reflectance before the encoder sees it, as shares of its maximum."""

    mixture: Share = 0.5  # share of spectra mixed with a second one
    slope: float = Field(default=0.1, ge=0)  # standard deviation of the gain's change over the range
    noise: float = Field(default=0.02, ge=0)  # largest standard deviation
    light: Share = 0.0  # share of spectra seen as radiance: under a random sky, through a random sensor
    lamps: Share = 0.0  # share of those with a lamp or a light-emitting diode in view


class Objective(_Strict):
    """The loss: a weighted sum. A part of weight 0 is not computed."""

    masked: float = Field(default=1.0, ge=0)  # bands hidden from the encoder, predicted from the others
    mask: float = Field(default=0.75, gt=0, lt=1)  # share of the bands hidden
    describe: float = Field(default=1.0, ge=0)  # all bands, from the feature alone
    contrast: float = Field(default=0.0, ge=0)  # two views of a spectrum are told from all other spectra (NT-Xent)
    temperature: float = Field(default=0.1, gt=0)
    isometry: float = Field(default=0.0, ge=0)  # distances of features are the spectra's, in units of natural variation
    power: Share = 0.6  # how far that unit evens out: 0 leaves the spectra as they are, 1 whitens them
    components: int = Field(default=40, ge=1)  # principal components that count in it
    pool: int = Field(default=1024, ge=64)  # spectra that tell the natural variation on the batch's grid

    @model_validator(mode="after")
    def _something(self) -> Objective:
        if not any((self.masked, self.describe, self.contrast, self.isometry)):
            raise ValueError("give at least one of masked, describe, contrast and isometry a weight")
        return self

    @property
    def decodes(self) -> bool:
        """Is a decoder needed?"""
        return bool(self.masked or self.describe)


class Recipe(_Strict):
    """All that a pretraining depends on besides the data themselves."""

    name: str
    sources: list[Source] = Field(default_factory=list)
    stores: list[StoreSource] = Field(default_factory=list)
    encoder: EncoderShape | PCAShape = EncoderShape()
    grid: Grid = Grid()
    augmentation: Augmentation = Augmentation()
    objective: Objective = Objective()
    steps: int = Field(ge=1)
    batch: int = Field(default=128, ge=2)  # spectra a step, over all workers
    lr: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: Share = 0.05  # share of the steps
    clip: float = Field(default=1.0, gt=0)  # largest gradient norm
    seed: int = 0
    checkpoint_every: int = Field(default=200, ge=1)
    workers: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _some_spectra(self) -> Recipe:
        if not self.sources and not self.stores:
            raise ValueError("sources: give at least one source or store")
        if isinstance(self.encoder, PCAShape) and (self.augmentation.light or self.workers > 1):
            raise ValueError(
                "encoder: spectral-pca is one pass over reflectance; leave out augmentation.light and workers"
            )
        if self.batch % self.workers:
            raise ValueError(f"workers: {self.workers} cannot share a batch of {self.batch} evenly")
        return self

    @property
    def fingerprint(self) -> str:
        """Hash of what decides the weights; how often they are saved and who computes them does not."""
        return digest(self.model_dump(mode="json", exclude={"checkpoint_every", "workers"}))


def load_recipe(path: Path, **changes: object) -> Recipe:
    """Read a recipe from YAML, with keys replaced by `changes`. Raises RequestError with all its problems at once."""
    if not path.is_file():
        raise RequestError("the recipe is not there", where=str(path), do="give the path of a YAML file")
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"the recipe is not valid YAML: {error}", where=str(path), do="mend it") from error
    if not isinstance(content, dict):
        raise RequestError("a recipe is a mapping", where=str(path), do="see experiments/pretrain-small.yaml")
    try:
        return Recipe.model_validate(content | changes)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()]
        raise RequestError("the recipe has problems\n" + "\n".join(found), where=str(path), do="mend them") from error
