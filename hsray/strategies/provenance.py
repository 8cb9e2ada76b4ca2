"""What an encoder's weights were learned from, and whether a dataset was among it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hsray.datasets import CubeStore, catalog
from hsray.strategies.references import TIMM

if TYPE_CHECKING:
    from hsray.strategies.strategy import Encoder, Strategy


@dataclass(frozen=True)
class Provenance:
    """Family `rgb` or `hyperspectral`, and the data sets that the weights have seen."""

    family: str
    seen: tuple[str, ...]


def provenance(part: Encoder) -> Provenance:
    """Of the encoder's weights, by the recipe, else the file's metadata, else what its class says of itself.

    Raises:
        RequestError: the weights are not there, or their metadata cannot be read.
    """
    from timm.models import get_pretrained_cfg, is_model

    from hsray.models import encoder
    from hsray.strategies.weights import weights_metadata

    if part.weights is None:
        return Provenance("none", ())
    told = {} if part.family and part.seen is not None else weights_metadata(part.weights)
    known = encoder(part.name)
    family = part.family or told.get("family") or getattr(known, "family", "hyperspectral")
    seen: Any = told.get("seen") or getattr(known, "seen", ()) if part.seen is None else part.seen
    if part.weights == TIMM:
        # timm names its weights after their data, such as vit_small_patch14_dinov2.lvd142m; others are ImageNet's.
        model = str(part.options.get("model", ""))
        default = get_pretrained_cfg(model) if model and "." not in model and is_model(model) else None
        seen = part.seen or (model.partition(".")[2] or (default.tag if default else "") or "ImageNet",)
    return Provenance(str(family), tuple(map(str, seen)))


def contamination(strategy: Strategy, store: CubeStore) -> tuple[str, ...]:
    """The data sets among those that the strategy's weights have seen which are this dataset under any of its names.

    Names are compared without case, spaces and signs; `hcv2 / Hyperspectral City v2 (train)` names each of its parts.
    """
    if strategy.encoder is None or strategy.encoder.weights is None:
        return ()
    also = store.source.get("also_known_as", ())
    known = store.source.get("catalog", store.name)
    names = {_bare(name) for name in (store.name, *also, *catalog.other_names(str(known)))}
    seen = provenance(strategy.encoder).seen
    return tuple(one for one in seen if names & {_bare(part) for part in [one, *re.split(r"[/,;()]", one)]})


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()
