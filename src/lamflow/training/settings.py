"""Settings of the training loop and of what it logs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lamflow.settings import DEEPEST, LARGEST_BATCH, SMALLEST, WIDEST, Settings


class TrainingSettings(Settings):
    """The one training loop."""

    steps: int = Field(2000, gt=0, description="Optimiser steps.")
    batch_size: int = Field(128, gt=0, le=LARGEST_BATCH, description="Transitions a step.")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="Peak learning rate of Adam.")
    warmup_steps: int = Field(50, ge=0, description="Steps over which the learning rate rises linearly to its peak.")
    initial_learning_rate_fraction: float = Field(
        0.1, ge=0, le=1, description="Learning rate at step 0 as a fraction of its peak, where there is a warm-up."
    )
    final_learning_rate_fraction: float = Field(
        0.01, ge=0, le=1, description="Learning rate at the last step as a fraction of its peak; linear in between."
    )
    adam_epsilon: float = Field(1e-8, ge=SMALLEST, description="Adam's epsilon.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay (AdamW); 0 is plain Adam.")
    clip_norm: float | None = Field(
        2.0, gt=0, description="Largest gradient norm; larger gradients are scaled down to it. null: none are."
    )
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto",
        description="Autocast precision of the networks. auto: bf16 on a GPU that has it, on CPUs with AMX and, for networks of 50,000 "
        "parameters and more, on CPUs with AVX512_BF16, else float32; see docs/training.md. Quantiser, losses and optimiser state are "
        "always float32.",
    )
    compile: Literal["auto", "off"] = Field(
        "auto",
        description="auto: torch.compile with CUDA graphs for trainings of at least 5,000 steps on one GPU; elsewhere, or with off, "
        "the plain form. Both compute the same function.",
    )
    devices: int = Field(
        1,
        gt=0,
        le=DEEPEST,
        description="GPUs of one node that share a training (DDP, Lightning Fabric), each with its part of the batch; on a machine "
        "without a GPU, processes.",
    )
    window_gib: float = Field(
        4.0,
        gt=0,
        le=WIDEST,
        description="Episodes' frames that a training keeps in memory (of the GPU where there is one), in GiB. A larger split is "
        "streamed through it.",
    )
    log_every: int = Field(
        50, gt=0, description="Steps between two rows of the metrics file, which hold means over these steps."
    )
    validate_every: int = Field(500, gt=0, description="Steps between two evaluations on held-out episodes.")
    checkpoint_every: int = Field(500, gt=0, description="Steps between two checkpoints in the state directory.")

    @model_validator(mode="after")
    def _equal_parts(self) -> TrainingSettings:
        if self.batch_size % self.devices:
            raise ValueError(f"batch_size: found {self.batch_size}, expected a multiple of devices = {self.devices}")
        return self


class LoggingSettings(Settings):
    """Weights & Biases, beside the metrics files that are always written."""

    wandb: bool = Field(False, description="Also log to Weights & Biases; see docs/tracking.md.")
    wandb_mode: Literal["offline", "online"] = Field(
        "offline", description="offline needs neither a key nor a network."
    )
    wandb_project: str = Field(
        "lamflow",
        pattern=r"^[^/\\#?%:]{1,128}$",
        description="Project name at Weights & Biases, without any of / \\ # ? % :.",
    )
