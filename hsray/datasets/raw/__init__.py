"""Native raw formats of the benchmark's datasets, one module each."""

from hsray.datasets.raw.benchmark import benchmark_source

__all__ = ["benchmark_source"]
