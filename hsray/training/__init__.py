"""One run: loop, metrics, checkpoints. Knows nothing of Ray or MLflow."""

from hsray.training.config import RunConfig, Training
from hsray.training.loop import SCORE, fit

__all__ = ["SCORE", "RunConfig", "Training", "fit"]
