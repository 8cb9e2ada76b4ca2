"""The TOML file that describes a person's dataset."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError, model_validator

from hsray.errors import RequestError, problems
from hsray.roots import InnerPath

Channel = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]
ClassName = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(_Strict):
    """Wavelengths spread evenly, where only the range is known."""

    first: float
    last: float


class Ratios(_Strict):
    """Shares of the three splits and the seed that draws them."""

    train: float = Field(gt=0)
    val: float = Field(gt=0)
    test: float = Field(gt=0)
    seed: int = 0

    @model_validator(mode="after")
    def _sum(self) -> Ratios:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train, val and test add up to {self.train + self.val + self.test:g}, not 1")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The three shares by split."""
        return {"train": self.train, "val": self.val, "test": self.test}


class Blocks(Ratios):
    """Ratios for a scene that is cut into a grid of rows × columns blocks."""

    grid: tuple[PositiveInt, PositiveInt]
    min_pixels: PositiveInt = 10
    """A class with fewer labelled pixels in some split is left out."""


class _Common(_Strict):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    wavelengths: list[float] | Spread | InnerPath | None = None
    """In nm: a list, a range, a csv file (or, for npz, a key); None takes them from ENVI headers or column names."""
    classes: dict[Annotated[str, Field(pattern=r"^-?\d+$")], ClassName | tuple[ClassName, Colour]] | str | None = None
    """Raw label to name or [name, [r, g, b]]; or a dataset of the catalogue; None: one class for each label found."""
    also_known_as: list[str] = []
    """Other names of these images, under which an encoder may say that it has seen them."""
    ignore: list[int] = []
    """Raw labels that mean: not labelled."""
    nodata: float | None = None
    """A value that means: not measured. It is treated like NaN."""


class Scene(_Common):
    """One large image with a label map, cut into blocks."""

    kind: Literal["scene"]
    cube: InnerPath
    cube_key: str | None = None
    labels: InnerPath
    label_key: str | None = None
    layout: Literal["HWC", "CHW"] = "HWC"
    splits: Blocks


class Folder(_Common):
    """Many images; `{image}` in the two paths stands for an image's name. `splits` is a csv with image and split."""

    kind: Literal["folder"]
    cubes: InnerPath = Field(pattern=r"\{image\}")
    cube_key: str | None = None
    labels: InnerPath = Field(pattern=r"\{image\}")
    label_key: str | None = None
    layout: Literal["HWC", "CHW"] = "HWC"
    splits: InnerPath


class Table(_Common):
    """Labelled spectra: npz with arrays under keys, or csv with columns. Rows of one group stay in one split."""

    kind: Literal["table"]
    table: InnerPath = Field(pattern=r"\.(npz|csv)$")
    spectra: str | None = None
    """Key of the spectra in an npz. In a csv every column whose name is a number (its wavelength) is a band."""
    labels: str
    group: str | None = None
    splits: Ratios


Description = Scene | Folder | Table
_ADAPTER: TypeAdapter[Description] = TypeAdapter(Annotated[Description, Field(discriminator="kind")])


def read_description(path: Path) -> Description:
    """Read a description file.

    Raises:
        RequestError: it is not there, is no TOML, or does not describe a dataset; all problems are named.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError("The description file is not there", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"The description is no TOML file ({error})", where=str(path)) from error
    return parse_description(content, str(path))


def parse_description(content: dict[str, object], where: str) -> Description:
    """Check a description.

    Raises:
        RequestError: it does not describe a dataset; all problems are named.
    """
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        kinds = {"scene", "folder", "table"}
        found = []
        for detail in error.errors():
            key = ".".join(str(part) for part in detail["loc"] if part not in kinds)
            found.append(RequestError(_sentence(detail["type"], detail["msg"]), where=f"{where}, {key or 'kind'}"))
        raise problems(found, "The description of the dataset is wrong") from error


def _sentence(kind: str, message: str) -> str:
    known = {"extra_forbidden": "There is no such key", "missing": "This key is missing"}
    return known.get(kind, message.removeprefix("Value error, "))
