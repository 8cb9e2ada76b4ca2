"""One run, fully resolved: nothing in it is left to guess, and it can be written to JSON and back."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hsray.digest import digest
from hsray.strategies.strategy import Strategy

Task = Literal["segmentation", "spectral"]


class Training(BaseModel):
    """How a model is trained. Defaults are the protocol of the study (HS3-Bench: AdamW, 1e-3, batch 16)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    lr: float = Field(1e-3, gt=0)
    encoder_lr_scale: float = Field(1.0, gt=0, le=1, description="the pretrained encoder learns at so much of lr")
    layer_decay: float = Field(1.0, gt=0, le=1, description="and each earlier layer of it at so much of the next one's")
    weight_decay: float = Field(0.0, ge=0)
    batch: int = Field(16, ge=1, description="samples an update, over all workers")
    epochs: int = Field(500, ge=1)
    patience: int | None = Field(30, ge=1, description="stop after so many epochs without a better validation Jaccard")
    min_updates: int = Field(1, ge=1, description="an epoch passes over the data until it has so many updates")
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    schedule: Literal["constant", "cosine"] = "constant"
    crop: int | None = Field(None, ge=1, description="side of random training crops; left out: whole images")
    crops_per_image: int = Field(1, ge=1, description="crops of every image in an epoch")
    flip: float = Field(0.0, ge=0, le=1, description="probability of a horizontal flip")
    window: int | None = Field(None, ge=8, description="side of evaluation windows; left out: whole images")
    overlap: float = Field(0.25, ge=0, lt=1, description="share by which neighbouring windows overlap")
    pixels_per_image: int | None = Field(4096, ge=1, description="spectral task: pixels of an image in an epoch")
    loaders: int = Field(0, ge=0, description="processes that read ahead, for each worker")
    half: bool = Field(True, description="bfloat16 mixed precision where the device has it")


class RunConfig(BaseModel):
    """Task, data, strategy, training and seed of one run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    task: Task
    dataset: str
    data_root: str | None = None
    strategy: Strategy
    fraction: float | str = 1.0
    seed: int = Field(0, ge=0, description="draws initial weights, batch order and the training subset")
    training: Training = Training()
    test: bool = Field(False, description="read the test set once at the end (finals)")

    @field_validator("strategy")
    @classmethod
    def _located(cls, strategy: Strategy) -> Strategy:
        if strategy.encoder is None:
            return strategy
        return strategy.model_copy(update={"encoder": strategy.encoder.located()})

    def digest(self) -> str:
        """Hash of what decides the result; where data and weights lie does not: the cell knows what they are."""
        elsewhere: Any = {"data_root": True, "dataset": True, "strategy": {"encoder": {"weights"}}}
        return digest(self.model_dump(mode="json", exclude=elsewhere))


TRAINING_DIMENSIONS = tuple(Training.model_fields)
ENCODER_DIMENSIONS = ("encoder_lr_scale", "layer_decay")  # without a pretrained encoder they mean nothing
