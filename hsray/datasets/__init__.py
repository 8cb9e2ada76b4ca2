"""What is learned from: cubes and labelled spectra in splits, with classes, colours and wavelengths."""

from hsray.datasets.classes import ClassInfo
from hsray.datasets.fractions import parse_fraction, training_subset
from hsray.datasets.locate import default_data_root, open_store
from hsray.datasets.statistics import ImageStatistics
from hsray.datasets.store import SPLITS, CubeStore

__all__ = [
    "SPLITS",
    "ClassInfo",
    "CubeStore",
    "ImageStatistics",
    "default_data_root",
    "open_store",
    "parse_fraction",
    "training_subset",
]
