"""Learning rates by depth: the pretrained encoder's early layers may move less than its late ones and the decoder."""

from __future__ import annotations

from typing import Any

from torch import nn

from hsray.strategies.assembly import Assembled, adapted_part
from hsray.training.config import Training


def parameter_groups(assembled: Assembled, training: Training) -> list[dict[str, Any]]:
    """What learns, in groups of one learning rate: `lr_scale` times that of the run, the largest first.

    Within the part of a pretrained encoder that an adapter concerns, adapter included, the scale is `encoder_lr_scale`
    times `layer_decay` to the power of the layers that follow (Clark et al., ELECTRA, ICLR 2020); elsewhere it is 1.
    """
    scales: dict[nn.Parameter, float] = {}
    whole = assembled.model.encoder
    if assembled.weights is not None and whole is not None:
        encoder = whole.get_submodule(adapted_part(whole))
        depths = layer_of_parameters(encoder)
        deepest = max(depths.values(), default=0)
        for name, parameter in encoder.named_parameters():
            scales[parameter] = training.encoder_lr_scale * training.layer_decay ** (deepest - depths[name])
    groups: dict[float, list[nn.Parameter]] = {1.0: []}
    for parameter in assembled.model.parameters():
        if parameter.requires_grad:
            groups.setdefault(scales.get(parameter, 1.0), []).append(parameter)
    order = sorted((scale for scale in groups if groups[scale]), reverse=True)
    return [{"params": groups[scale], "lr": training.lr * scale, "lr_scale": scale} for scale in order]


def layer_of_parameters(encoder: nn.Module) -> dict[str, int]:
    """Parameter name → its layer, from 0.

    One rule for all encoders, whose modules stand in the order in which they run. A block is what holds more than one
    layer with weights; the first module and every later block begin a new layer. The only block of a network is the
    network itself and opened, and so is its only list of blocks (`blocks` of a ViT, `stages` of a ConvNeXt,
    `encoder_blocks` of HyperSL); several lists are one layer each (`layer1` to `layer4` of a ResNet). Single modules
    (norms, a first convolution) belong to the layer before them, tokens to layer 0.
    """
    depths, depth = {name: 0 for name, _ in encoder.named_parameters()}, 0
    for number, (prefix, piece) in enumerate(_pieces(encoder)):
        depth += int(number > 0 and _is_block(piece))
        depths |= {f"{prefix}.{name}": depth for name, _ in piece.named_parameters()}
    return depths


def _pieces(network: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    children = [(f"{prefix}{name}", child) for name, child in _children(network)]
    blocks = [child for _, child in children if _is_block(child)]
    lists = [block for block in blocks if _is_list(block)]
    found: list[tuple[str, nn.Module]] = []
    for name, child in children:
        if [child] == lists:
            found += [(f"{name}.{number}", block) for number, block in _children(child)]
        elif [child] == blocks:
            found += _pieces(child, f"{name}.")
        else:
            found.append((name, child))
    return found


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Direct children that hold parameters; a layer with an adapter still counts as one layer."""
    children = [] if hasattr(module, "base_layer") else module.named_children()
    return [(name, child) for name, child in children if next(child.parameters(), None) is not None]


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList | nn.Sequential)


def _is_block(module: nn.Module) -> bool:
    children = _children(module)
    return any(_is_block(child) for _, child in children) if _is_list(module) else bool(children)
