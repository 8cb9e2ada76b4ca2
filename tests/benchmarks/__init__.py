"""What the machinery around training costs, measured: `python -m tests.benchmarks [--quick] [names]`."""
