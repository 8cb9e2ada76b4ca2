"""A strategy as data: view → stem → encoder (and its weights) → adapter → decoder."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hsray.errors import RequestError
from hsray.roots import inner
from hsray.strategies.provenance import provenance
from hsray.strategies.references import FOLDER, is_named, weights_folder

Family = Literal["in-domain", "cross-modality", "cross-domain"]


class View(BaseModel):
    """What the model sees of a cube."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["bands", "pseudo-rgb", "pca", "mean"] = "bands"
    k: int = Field(3, ge=1, description="number of principal components (kind: pca)")
    normalise: Literal["standard", "max", "unit", "none", "hs3bench"] | None = Field(
        None, description="left out: what the encoder wants, else 'standard' (zero mean, unit deviation a channel)"
    )


class Part(BaseModel):
    """A stem, encoder or decoder by its registered name; every other key is an option of it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """What is not null: null takes back what a recipe that this one starts from says."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}


class Encoder(Part):
    """An encoder and where its weights come from. `family` is what they were learned from."""

    weights: str | None = None
    sha256: str | None = None
    family: Literal["rgb", "hyperspectral", "earth-observation"] | None = Field(
        None, description="what a bare file was learned from; left out: the JSON beside it, or what the encoder says"
    )
    seen: tuple[str, ...] | None = Field(None, description="data sets that a bare file has seen")

    @field_validator("weights")
    @classmethod
    def _whole_path(cls, weights: str | None) -> str | None:
        if weights is not None:
            inner(weights.removeprefix(FOLDER))
        # A run happens in another folder and on another node than where the file was named.
        return weights if weights is None or is_named(weights) else str(Path(weights).resolve())

    def located(self) -> Encoder:
        """The same with a file of the weights folder named by its whole path: a node may know no such folder."""
        if self.weights is None or not self.weights.startswith(FOLDER):
            return self
        return self.model_copy(update={"weights": str(weights_folder() / self.weights.removeprefix(FOLDER))})


class Adapter(BaseModel):
    """Which weights of a pretrained encoder learn, and through what."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: str = "full"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Features(BaseModel):
    """How the features of a frozen spectral encoder are kept in the cache."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    dtype: Literal["float16", "float32"] = "float16"
    pca: int | None = Field(
        None, ge=1, description="keep this many principal components, fitted on all training images without labels"
    )


class Strategy(BaseModel):
    """A recipe for transfer. `beside_bands` hands the decoder the bands as well as the encoder's features."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    view: View = View()
    stem: Part | None = None
    encoder: Encoder | None = None
    adapter: Adapter = Adapter()
    features: Features = Features()
    decoder: Part
    beside_bands: bool = False
    training: dict[str, Any] = Field(default_factory=dict, description="training defaults of this recipe")

    @property
    def pretrained(self) -> bool:
        return self.encoder is not None and self.encoder.weights is not None

    @property
    def family(self) -> Family:
        """Follows from the weights: none, RGB, or hyperspectral from another domain."""
        if self.encoder is None or self.encoder.weights is None:
            return "in-domain"
        return "cross-modality" if provenance(self.encoder).family == "rgb" else "cross-domain"

    def has(self, dimension: str) -> bool:
        """Does this recipe have that hyperparameter, such as `adapter`, `lora.rank` or `decoder.width`?"""
        from hsray.models import accepted_options
        from hsray.models import encoder as encoder_class
        from hsray.strategies.adapters import adapter_kinds, adapter_options

        part, _, option = dimension.partition(".")
        if dimension == "adapter":
            return self.pretrained
        if part in adapter_kinds():
            return self.pretrained and option in adapter_options(part)
        if part == "view":
            return option == "normalise" or (option == "k" and self.view.kind == "pca")
        if part == "beside_bands":
            return self.encoder is not None
        if part == "features":
            spectral = self.encoder is not None and getattr(encoder_class(self.encoder.name), "gives", "") == "vector"
            return self.pretrained and spectral and option in Features.model_fields
        found = {"encoder": self.encoder, "decoder": self.decoder, "stem": self.stem}.get(part)
        return found is not None and option in accepted_options(part, found.name)

    def with_values(self, values: dict[str, Any]) -> Strategy:
        """The same recipe with dimensions set: `{"adapter": "lora", "lora.rank": 4, "decoder.width": 32}`."""
        recipe = self.model_dump()
        if "adapter" in values and self.has("adapter"):
            kept = recipe["adapter"] if recipe["adapter"]["kind"] == values["adapter"] else {}
            recipe["adapter"] = {**kept, "kind": values["adapter"]}
        for dimension, value in values.items():
            part, _, option = dimension.partition(".")
            if dimension == "adapter" or not self.has(dimension):
                continue
            if part == recipe["adapter"]["kind"]:
                recipe["adapter"][option] = value
            elif part in recipe and option:
                recipe[part][option] = value
            elif part in recipe:
                recipe[part] = value
        return Strategy.model_validate(recipe)


STRATEGY_PARTS = ("adapter", "view", "encoder", "decoder", "stem", "features", "beside_bands")


@cache
def catalogue() -> dict[str, Strategy]:
    """All named recipes: ours, and those that other packages bring by the entry point `hsray.strategies`."""
    recipes = yaml.safe_load(files("hsray.strategies").joinpath("catalogue.yaml").read_text("utf-8"))
    for entry in entry_points(group="hsray.strategies"):
        recipes[entry.name] = entry.load()
    return {name: _validated({**dict(recipe), "name": name}, name) for name, recipe in recipes.items()}


def strategy(request: str | dict[str, Any]) -> Strategy:
    """A recipe by name, or written out in place (with `name`, and `base` to start from a named one)."""
    if isinstance(request, str):
        known = catalogue()
        if request not in known:
            near = difflib.get_close_matches(request, known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise RequestError(f"there is no strategy '{request}'", do=f"{hint}known: {', '.join(sorted(known))}")
        return known[request]
    if not isinstance(request, dict):
        raise RequestError(f"{request!r} is no strategy", do="give a name, or a recipe with a name and a decoder")
    recipe = dict(request)
    base = recipe.pop("base", None)
    if base is not None:
        start = strategy(base).model_dump()
        recipe = {**start, **recipe} | {
            part: {**(start[part] or {}), **recipe[part]}
            for part in ("view", "stem", "encoder", "adapter", "features", "decoder", "training")
            if isinstance(recipe.get(part), dict)
        }
    return _validated(recipe, str(recipe.get("name", "?")))


def _validated(recipe: dict[str, Any], name: str) -> Strategy:
    try:
        return Strategy.model_validate(recipe)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors())
        raise RequestError(f"the strategy '{name}' is not a valid recipe: {faults}", where=f"strategy {name}") from None
