"""What each part of the loss rewards."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.pretraining.objectives import contrast, isometry, natural
from hsray.pretraining.recipe import Objective


def pool(seed: int = 0) -> torch.Tensor:
    """Spectra whose principal components differ in size by orders of magnitude."""
    random = torch.Generator().manual_seed(seed)
    scale_L = torch.logspace(0, -3, 10)
    turn_LL = torch.linalg.qr(torch.randn(10, 10, generator=random)).Q
    return torch.randn(4000, 10, generator=random) * scale_L @ turn_LL


def test_power_one_whitens_and_power_zero_leaves_distances() -> None:
    spectra_NL = pool()
    white = natural(spectra_NL, spectra_NL, Objective(power=1.0, components=5))
    torch.testing.assert_close(torch.cov(white.T) * 5, torch.eye(5), atol=2e-2, rtol=0)
    same = natural(spectra_NL, spectra_NL, Objective(power=0.0))[:50]
    ratio = torch.pdist(spectra_NL[:50]) / torch.pdist(same)
    assert float(ratio.std() / ratio.mean()) < 1e-3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_isometry_is_zero_for_any_rotation_of_the_targets_and_positive_else(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    target_BK = torch.randn(400, 6, generator=random)
    target_BK = target_BK / target_BK.square().sum(1).mean().sqrt()
    turn_KK = torch.linalg.qr(torch.randn(6, 6, generator=random)).Q
    feature_BD = 6**0.5 * target_BK @ turn_KK + 3
    assert float(isometry(feature_BD, target_BK)) < 2e-3
    assert float(isometry(feature_BD * 0.5, target_BK)) > 0.2
    assert float(isometry(torch.randn(400, 6, generator=random), target_BK)) > 0.1


def test_isometry_has_a_gradient_where_spectra_are_equal() -> None:
    feature_BD = torch.zeros(8, 4, requires_grad=True)
    isometry(feature_BD + torch.eye(8, 4), torch.ones(8, 3)).backward()
    assert feature_BD.grad is not None and feature_BD.grad.isfinite().all()


def test_contrast_rewards_partners_and_is_the_log_of_the_count_where_nothing_is_known() -> None:
    random = torch.Generator().manual_seed(0)
    one_BD = torch.randn(32, 16, generator=random)
    assert float(contrast(one_BD, one_BD, 0.1)) < 0.1
    assert float(contrast(one_BD, one_BD.roll(1, 0), 0.1)) > 3
    alike = torch.ones(32, 16)
    assert math.isclose(float(contrast(alike, alike, 0.1)), math.log(63), rel_tol=1e-4)
