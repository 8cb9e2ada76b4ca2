"""One small valid file for every reader, as bytes by file name."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save

RANDOM = np.random.default_rng(0)
CUBE_HWC = RANDOM.random((6, 5, 4), dtype=np.float32)
LABELS_HW = RANDOM.integers(0, 3, (6, 5), dtype=np.uint8)

EXPERIMENT = b"""name: fuzz
task: spectral
axes:
  dataset: [tiny]
  strategy: [fc, {base: mlp, name: wide, decoder: {width: 32}}]
  fraction: [0.5, 1.0, "official:10"]
search:
  lr: {log: [1.0e-4, 1.0e-1]}
  weight_decay: {uniform: [0, 0.1]}
  batch: {choice: [16, 32], when: {strategy: fc}}
fixed: {clip: 1.0, schedule: {strategy: {fc: cosine, wide: constant}}}
without: [{dataset: tiny, strategy: fc, fraction: 0.5}]
budget: {trials: 3, epochs: 4, patience: null, grace: 1}
final: {seeds: 2}
resources: {workers: 1, gpus: auto}
smoke: {budget: {trials: 1}}
"""
SCENE = b"""name = "field"
kind = "scene"
cube = "cube.npy"
labels = "labels.npy"
wavelengths = {first = 450, last = 950}
ignore = [0]
splits = {grid = [2, 2], train = 0.5, val = 0.2, test = 0.3, min_pixels = 1}
"""
TABLE = b"""name = "spectra"
kind = "table"
table = "table.csv"
labels = "class"
group = "place"
classes = {0 = "soil", 1 = ["grass", [10, 200, 10]]}
splits = {train = 0.4, val = 0.3, test = 0.3}
"""
RECIPE = b"""name: mine
sources:
  - {name: a, file: a.npz, spectra: x, wavelengths: w, unit: um, weight: 2.0, nodata: -1}
stores:
  - {name: b, path: stored, split: train}
encoder: {width: 32, depth: 1, heads: 2}
steps: 10
batch: 8
"""
CSV = b"place,450,460.5,470,class\n" + b"".join(b"%d,0.1,0.2,%d,%d\n" % (n % 4, n, n // 4 % 2) for n in range(16))


def _buffer(write) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _hdf5(**arrays: np.ndarray) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with h5py.File(buffer, "w") as file:
            for name, array in arrays.items():
                file[name.replace("__", "/")] = array

    return _buffer(write)


def _envi() -> bytes:
    return (
        b"ENVI\nsamples = 5\nlines = 6\nbands = 4\nheader offset = 0\nfile type = ENVI Standard\ndata type = 4\n"
        b"interleave = bip\nbyte order = 0\nwavelength units = nm\nwavelength = {450, 500, 550, 600}\n"
    )


def _hsd() -> bytes:
    header = struct.pack("<5ifi", 6, 4, 5, 2, 450, 4.0, 466)
    return header + RANDOM.random(5 + 2 * 5 + 6 * 4 * 2, dtype=np.float32).tobytes()


def _lightning() -> bytes:
    state = {f"layer.{n}.weight": torch.ones(3, 2) for n in range(3)}
    content = {"state_dict": state, "epoch": 3, "hyper_parameters": {"path": Path("x"), "lr": 0.1}}
    return _buffer(lambda buffer: torch.save(content, buffer))


def _run() -> dict[str, bytes]:
    spec = {"key": "a/trial-0/1", "kind": "trial", "cell": "a@1", "name": "a", "tags": {}, "params": {"lr": 0.1}}
    result = {"state": "COMPLETE", "reason": None, "started": 1.0, "ended": 2.0, "metrics": {"a": 1}, "artifacts": []}
    line = {"epoch": 0, "time": 1.0, "metrics": {"val/jaccard_macro": 0.5}}
    return {
        "spec.json": json.dumps(spec).encode(),
        "result.json": json.dumps(result).encode(),
        "epochs.jsonl": (json.dumps(line) + "\n").encode() * 3,
    }


CHECKPOINT = {
    "format": 2, "config": "0", "model": {"a.weight": torch.ones(3, 2)}, "optimiser": {"state": {}, "param_groups": []},
    "progress": {"epoch": 1}, "random": {"0/cpu": torch.zeros(8, dtype=torch.uint8)},
}  # fmt: skip
FILES: dict[str, bytes] = {
    "experiment.yaml": EXPERIMENT,
    "scene.toml": SCENE,
    "table.toml": TABLE,
    "recipe.yaml": RECIPE,
    "table.csv": CSV,
    "splits.csv": b"image,split\na,train\nb,val\nc,test\n",
    "cube.npy": _buffer(lambda buffer: np.save(buffer, CUBE_HWC)),
    "cube.npz": _buffer(lambda buffer: np.savez_compressed(buffer, cube=CUBE_HWC, other=LABELS_HW)),
    "cube.mat": _buffer(lambda buffer: scipy.io.savemat(buffer, {"cube": CUBE_HWC, "n": 1}, do_compression=True)),
    "cube73.mat": _hdf5(cube=CUBE_HWC),
    "cube.h5": _hdf5(a__image=CUBE_HWC, a__labels=LABELS_HW),
    "cube.hdr": _envi(),
    "cube.hsd": _hsd(),
    "labels.png": _buffer(lambda buffer: Image.fromarray(LABELS_HW).save(buffer, "png")),
    "labels.npy": _buffer(lambda buffer: np.save(buffer, LABELS_HW)),
    "weights.ckpt": _lightning(),
    "weights.safetensors": save({"a.weight": torch.ones(3, 2), "b": torch.zeros(4)}),
    "old.pth": _buffer(
        lambda buffer: torch.save({"a": torch.ones(3, 2)}, buffer, _use_new_zipfile_serialization=False)
    ),
    "last.pt": _buffer(lambda buffer: torch.save(CHECKPOINT, buffer)),
    **_run(),
}
ENVI_DATA = CUBE_HWC.tobytes()
