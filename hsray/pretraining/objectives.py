"""What the encoder learns: the losses of a batch. Worker count does not change them, batch-norm statistics apart."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from torch.nn import functional

from hsray.models.hypersl import HyperSL
from hsray.pretraining.recipe import EncoderShape, Objective
from hsray.pretraining.stream import Batch

EVEN = 0.02  # weight of the term that spreads the isometry over all channels


class Pretraining(nn.Module):
    """An encoder with what its objective needs; `forward` gives a batch's loss, scaled for DDP's mean over workers."""

    def __init__(self, shape: EncoderShape, objective: Objective) -> None:
        super().__init__()
        options = shape.model_dump(exclude={"name"}) | ({} if objective.decodes else {"decoder_depth": 0})
        self.encoder = HyperSL(1, torch.zeros(1), **options)
        self.objective = objective

    def forward(self, batch: Batch) -> Tensor:
        part, nm_BL = self.objective, batch.nm_L.expand(len(batch.clean_BL), -1)
        loss = torch.zeros((), device=batch.clean_BL.device)
        if part.masked or part.describe:
            hidden, feature_BD = self._reconstructed(batch, nm_BL)
            loss = loss + part.masked * hidden
            if part.describe:
                # The official objective uses the feature as a query only; this term makes it hold the spectrum itself.
                found_BL = self.encoder.describe(feature_BD, nm_BL)
                loss = loss + part.describe * (found_BL - batch.clean_BL).square().mean()
        if part.isometry or part.contrast:
            feature_BD = self.encoder.features_at(batch.view_BL, batch.nm_L)
            if part.isometry:
                loss = loss + part.isometry * isometry(
                    _of_all(feature_BD), natural(_of_all(batch.clean_BL), batch.pool_PL, part)
                )
            if part.contrast:
                other_BD = self.encoder.features_at(batch.other_BL, batch.nm_L)
                loss = loss + part.contrast * contrast(_of_all(feature_BD), _of_all(other_BD), part.temperature)
        return loss

    def _reconstructed(self, batch: Batch, nm_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Masked reconstruction (HyperSL), and the feature of the bands that were kept."""
        bands = len(batch.nm_L)
        kept = max(1, round(bands * (1 - self.objective.mask)))
        keep_BM, masked_BM = batch.order_BL[:, :kept], batch.order_BL[:, kept:]
        # Hidden bands are hidden from the convolutions too; else each kept band would tell of its neighbours.
        seen_BL = batch.view_BL.scatter(1, masked_BM, 0.0)
        predicted_BL, feature_BD = self.encoder.reconstruct(seen_BL, nm_BL, keep_BM)
        return (predicted_BL - batch.clean_BL).gather(1, masked_BM).square().mean(), feature_BD


def natural(spectra_BL: Tensor, pool_PL: Tensor, objective: Objective) -> Tensor:
    """The spectra's principal components (B, k), each divided by its deviation in the pool to the given power."""
    mean_L = pool_PL.mean(dim=0)
    values, vectors = torch.linalg.eigh((pool_PL - mean_L).T @ (pool_PL - mean_L) / len(pool_PL))
    k = min(objective.components, len(values))
    values, vectors = values.flip(0)[:k].clamp(min=0), vectors.flip(1)[:, :k]
    # Components far below the first are noise.
    projection_LK = vectors * (values + 1e-5 * values[0]).clamp(min=1e-12).pow(-objective.power / 2)
    return (spectra_BL - mean_L) @ projection_LK / ((pool_PL - mean_L) @ projection_LK).square().sum(1).mean().sqrt()


def isometry(feature_BD: Tensor, target_BK: Tensor) -> Tensor:
    """How far the features' distances are from the targets', as a share of these (Kruskal's stress, 1964, squared).

    Targets of unit spread stand for features of unit deviation a channel; a small second term asks for that evenness.
    """
    wanted_BB = _distances(target_BK) * feature_BD.shape[1] ** 0.5
    stress = (_distances(feature_BD) - wanted_BB).square().mean() / wanted_BB.square().mean()
    variance_D = feature_BD.var(dim=0)
    return stress + EVEN * (variance_D / variance_D.mean().detach() - 1).square().mean()


def contrast(one_BD: Tensor, other_BD: Tensor, temperature: float) -> Tensor:
    """NT-Xent (Chen et al. 2020, equation 1): of all other views, each view is nearest to its partner."""
    views_VD = functional.normalize(torch.cat([one_BD, other_BD]), dim=1)
    logits_VV = views_VD @ views_VD.T / temperature
    logits_VV = logits_VV.masked_fill(torch.eye(len(views_VD), dtype=torch.bool, device=views_VD.device), -torch.inf)
    partner_V = torch.arange(len(views_VD), device=views_VD.device).roll(len(one_BD))
    return functional.cross_entropy(logits_VV, partner_V)


def _distances(x_BD: Tensor) -> Tensor:
    """Euclidean, (B, B). torch.cdist has no gradient where a distance is 0."""
    norm_B = x_BD.square().sum(dim=1)
    return (norm_B[:, None] + norm_B[None] - 2 * x_BD @ x_BD.T).clamp(min=1e-4).sqrt()


def _of_all(x_BD: Tensor) -> Tensor:
    """The rows of all workers, so that pairs are those of the whole batch; gradients find their way back."""
    if not torch.distributed.is_initialized():
        return x_BD
    return torch.cat(cast(tuple[Tensor, ...], all_gather(x_BD.contiguous())))
