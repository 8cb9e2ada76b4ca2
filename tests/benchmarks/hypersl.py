"""Spectra a second through the HyperSL encoder, beside the official code and a large matrix product, in one run.

`python -m tests.benchmarks.hypersl --official PATH` imports the official checkout (its `engine/model.py`) where it lies
and gives both the same random weights; without it, ours and the matrix product alone are measured. On a GPU, ours is
also measured in bfloat16 and compiled. All that is compared takes turns, round after round; medians are over rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from hsray.models.hypersl import SIZES, HyperSL
from tests.benchmarks.report import machine, versions

SIDE = {"cpu": 2048, "cuda": 16384}  # of the matrices of the product
WORK = {"cpu": 3e10, "cuda": 2e13}  # floating-point operations a round; less than a second
BATCHES = {"cpu": (32, 64, 128, 256, 1024), "cuda": (1024, 4096, 16384)}  # the official code runs at its best one
SHARE_GOAL, GPU_GOAL, EXACT, NEAR = 0.7, 8.0, 1e-4, 1e-2
Run = Callable[[], Tensor]


def encoder_flops(size: str, bands: int) -> float:
    """Floating-point operations of the matrix products of one spectrum, two for a multiplication with its addition."""
    D, depth, tokens = SIZES[size].width, SIZES[size].depth, bands + 1
    embedding = bands * 2 * (5 + 9 + 13 + 3 * D) * D
    return embedding + depth * (tokens * 2 * 12 * D * D + 4 * tokens * tokens * D)


def build(size: str, bands: int) -> HyperSL:
    """An encoder of random weights, with batch-norm statistics that are not the trivial ones."""
    torch.manual_seed(0)
    model = HyperSL(bands, torch.linspace(450, 950, bands), size=size, decoder_depth=SIZES[size].decoder_depth)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def build_official(checkout: Path, size: str, weights: dict[str, Tensor]) -> Any:
    """The official model of a checkout with these weights, every name of them."""
    sys.path.insert(0, str(checkout))
    from engine.model import SpectralSharedEncoder  # type: ignore[import-not-found]

    form = SIZES[size]
    model = SpectralSharedEncoder(
        form.width, encoder_depth=form.depth, decoder_depth=form.decoder_depth, num_heads=form.heads
    )
    model.load_state_dict(weights)
    return model.eval()


def official_run(model: Any, spectra_NL: Tensor, wavelengths_L: Tensor, batch: int) -> Tensor:
    parts = [
        model.encoder_forward(part_BL[:, None], wavelengths_L.expand(len(part_BL), -1), 0.0)[0][:, 0]
        for part_BL in spectra_NL.split(batch)
    ]
    return torch.cat(parts)


def seconds(run: Run) -> float:
    """Of one call, the device's work included."""
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def error(found_ND: Tensor, wanted_ND: Tensor) -> float:
    """The largest difference of a spectrum's feature, relative to its length."""
    return float(((found_ND - wanted_ND).norm(dim=1) / wanted_ND.norm(dim=1)).max())


@torch.inference_mode()
def compare(size: str, bands: int, checkout: Path | None, rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """One row for each of ours: spectra a second, and how it stands to the official code and the matrix product."""
    flops = encoder_flops(size, bands)
    model = build(size, bands).to(device)
    spectra_NL = torch.rand(max(8, round(WORK[device.type] / flops)), bands, device=device)
    spectra_NL = spectra_NL / spectra_NL.amax(dim=1, keepdim=True)
    side = SIDE[device.type]
    matrix = torch.rand(side, side, device=device)
    runs: dict[str, Run] = {"product float32": lambda: matrix @ matrix, "ours float32": lambda: model(spectra_NL)}
    wanted_ND = model._encode(_plain_embedding(model, spectra_NL[:256]) + model.positions_LD)[0]
    if checkout is not None:
        official = build_official(checkout, size, model.state_dict()).to(device)
        nm_L = torch.linspace(450, 950, bands, device=device)

        def beside(batch: int) -> Run:
            return lambda: official_run(official, spectra_NL, nm_L, batch)

        wanted_ND = official_run(official, spectra_NL[:256], nm_L, 256)
        official_run(official, spectra_NL[:256], nm_L, 256)
        best = min(BATCHES[device.type], key=lambda batch: min(seconds(beside(batch)) for _ in range(2)))
        runs["official"] = beside(best)
    if device.type == "cuda":
        half, fast = matrix.bfloat16(), build(size, bands).to(device)
        fast.accelerate()

        def accelerated() -> Tensor:
            with torch.autocast("cuda", torch.bfloat16):
                return fast(spectra_NL)

        runs |= {"product bfloat16": lambda: half @ half, "ours bfloat16": accelerated}
    took: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            passed = seconds(run)
            if round_:  # the first is for warming up, and for compiling
                took[name].append(passed)

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(took[above], took[below], strict=True))

    rows = []
    for kind in [name for name in runs if name.startswith("ours")]:
        product = kind.replace("ours", "product")
        rows.append(
            {
                "bands": bands,
                "kind": kind,
                "spectra/s": len(spectra_NL) / statistics.median(took[kind]),
                "official": len(spectra_NL) / statistics.median(took["official"]) if checkout else None,
                "speedup": ratio("official", kind) if checkout else None,
                "product": 2 * side**3 / statistics.median(took[product]),
                "share": ratio(product, kind) * len(spectra_NL) * flops / (2 * side**3),
                "error": error(runs[kind]()[: len(wanted_ND)], wanted_ND),
            }
        )
    return rows


def _plain_embedding(model: HyperSL, spectra_BL: Tensor) -> Tensor:
    """The embedding layer by layer, as the official code runs it."""
    layers = (model.embedding_layer_1, model.embedding_layer_2, model.embedding_layer_3)
    return model.embedding_layer_4(torch.cat([layer(spectra_BL[:, None]) for layer in layers], dim=1)).transpose(1, 2)


def goals_met(row: dict[str, Any]) -> bool:
    """On a CPU: share and speed; in bfloat16: speed on a GPU. Always: the error."""
    if "bfloat16" in row["kind"]:
        return row["error"] < NEAR and (row["speedup"] is None or row["speedup"] >= GPU_GOAL)
    fast = torch.cuda.is_available() or row["share"] >= SHARE_GOAL
    return row["error"] < EXACT and fast and (row["speedup"] is None or row["speedup"] >= 1)


def main() -> int:
    """Measure and print; exit 1 where a goal is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hypersl")
    parser.add_argument("--official", type=Path, help="checkout of the official HyperSL")
    parser.add_argument("--bands", type=int, nargs="+", default=[15, 25, 128])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    load = os.getloadavg()[0]
    rows: list[dict[str, Any]] = []
    for bands in arguments.bands:
        rows += compare(arguments.size, bands, arguments.official, arguments.rounds, device)
    console = Console(width=None if sys.stdout.isatty() else 140)
    for line in (machine(), versions()):
        console.print(line, highlight=False, soft_wrap=True)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {arguments.threads} threads"
    said = f"{arguments.size} on {where}; medians of {arguments.rounds} rounds; load {load:.1f} before"
    console.print(f"{said}, {os.getloadavg()[0]:.1f} after", highlight=False)
    table = Table()
    for column in ("bands", "encoder", "spectra/s", "official", "speed-up", "product GFLOP/s", "share", "error", "met"):
        table.add_column(column, justify="left" if column == "encoder" else "right")
    for row in rows:
        beside = [f"{row['official']:.0f}", f"{row['speedup']:.2f}x"] if row["official"] else ["", ""]
        figures = [f"{row['product'] / 1e9:.0f}", f"{100 * row['share']:.0f} %", f"{row['error']:.1e}"]
        met = "yes" if goals_met(row) else "no"
        table.add_row(str(row["bands"]), row["kind"], f"{row['spectra/s']:.0f}", *beside, *figures, met)
    console.print(table)
    return 0 if all(map(goals_met, rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
