"""Samples a second of training an action decoder on a few labels, beside its plain form: a DataLoader, a float32 MLP, Adam.

Prints one JSON object.
"""

import time
from functools import partial
from typing import Any

import torch
from bench.arms import Figures, Round, compared, report
from bench.command import arguments
from bench.machine import PLAIN, precision_here
from bench.plain_training import plain_training
from bench.sizes import Size, read_size
from torch.nn import functional
from torch.utils.data import TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from lamflow.networks.perceptron import mlp
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.mlp_decoder import fit_mlp_decoder
from lamflow.training.memory import keep_freed_memory

LABELS = 1024
ROUNDS = 3
COUNTED_BATCH = 4


def labels_of(size: Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents float32 [N, D] and actions int64 [N]."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(LABELS, size.latent_dim, generator=generator)
    return latents, torch.randint(size.spec.num_actions, (LABELS,), generator=generator)


def plain_decoder(size: Size) -> torch.nn.Module:
    return mlp(size.latent_dim, size.method.decoder.hidden_widths, size.spec.num_actions)


def plain_arm(size: Size) -> Round:
    settings, network = size.method.decoder.training, plain_decoder(size)

    def loss(batch: list[torch.Tensor]) -> torch.Tensor:
        latents, actions = batch
        return functional.cross_entropy(network(latents), actions)

    return plain_training(network, TensorDataset(*labels_of(size)), loss, settings, settings.steps)


def library_arm(size: Size) -> Round:
    keep_freed_memory()
    latents, actions = labels_of(size)
    settings = size.method.decoder

    def play() -> Figures:
        started = time.perf_counter()
        fit_mlp_decoder(latents, actions, space=DiscreteActions.of(size.spec), settings=settings, seed=0)
        seconds = time.perf_counter() - started
        return {"samples": settings.training.steps * settings.training.batch_size, "seconds": seconds}

    return play


def measured(size: Size) -> dict[str, Any]:
    with FlopCounterMode(display=False) as counter:
        plain_decoder(size)(torch.zeros(COUNTED_BATCH, size.latent_dim)).sum().backward()
    return compared(
        {"baseline": partial(plain_arm, size), "lamflow": partial(library_arm, size)},
        rounds=ROUNDS,
        gflop_a_sample=counter.get_total_flops() / COUNTED_BATCH / 1e9,
        precisions={
            "baseline": PLAIN,
            "lamflow": precision_here(size.method.decoder.training.precision, plain_decoder(size)),
        },
    )


def main() -> None:
    report("decoder_training", sizes={name: measured(read_size(name)) for name in ("paper", "procgen_laptop")})


if __name__ == "__main__":
    arguments(__doc__)
    main()
