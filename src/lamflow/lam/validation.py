"""What is measured of a latent action model on held-out episodes while it trains."""

from __future__ import annotations

import torch
from torch import Tensor

from lamflow.lam.model import LatentActionModel, Latents
from lamflow.lam.probe import probe_accuracy

INFERENCE_BATCH = 1024


def label_in_batches(model: LatentActionModel, windows_N3HW2: Tensor) -> Latents:
    """``model.label`` over many windows."""
    parts = [model.label(part) for part in windows_N3HW2.split(INFERENCE_BATCH)]
    return Latents(*(torch.cat(values) for values in zip(*parts, strict=True)))


def codebook_metrics(codes_NT: Tensor, *, codes_each: int, codebooks: int) -> dict[str, float]:
    """Perplexity of the code distribution, exp of its entropy in nats (1 .. codes), and the fraction of codes in use (0 .. 1).

    Codes int64 [N, codebooks x tokens]; the tokens of one codebook are pooled, codebooks are averaged.
    """
    if codes_NT.shape[1] == 0:
        return {}
    perplexities, fractions = [], []
    for codes in codes_NT.chunk(codebooks, dim=1):
        frequencies = torch.bincount(codes.flatten(), minlength=codes_each).float()
        frequencies = frequencies / frequencies.sum()
        perplexities.append(torch.special.entr(frequencies).sum().exp().item())
        fractions.append((frequencies > 0).float().mean().item())
    count = len(perplexities)
    return {"codebook/perplexity": sum(perplexities) / count, "codebook/used_fraction": sum(fractions) / count}


@torch.no_grad()
def forward_metrics(model: LatentActionModel, windows_N3HW2: Tensor, quantized_ND: Tensor) -> dict[str, float]:
    """How well the FDM predicts held-out frames, and how much of that it owes to the latent.

    Losses are cross-entropies in nats a frame: with the true latent, with another transition's, and of copy-last-frame, whose cells
    are given the best constant confidence (that of the share of cells that stay as they are). Changed cells are those
    that differ between o_t and o_{t+1}; a frame counts as right when all its cells are.
    """
    generator = torch.Generator().manual_seed(0)
    shuffled = quantized_ND[torch.randperm(len(quantized_ND), generator=generator)]
    batches = range(0, len(windows_N3HW2), INFERENCE_BATCH)
    true_loss = shuffled_loss = changed_right = num_changed = frames_right = 0.0
    for start in batches:
        part = slice(start, start + INFERENCE_BATCH)
        windows = windows_N3HW2[part]
        true_loss += model.prediction_loss(windows, quantized_ND[part]).sum().item()
        shuffled_loss += model.prediction_loss(windows, shuffled[part]).sum().item()
        right = (model.predict(windows[:, :2], quantized_ND[part]) == windows[:, 2]).all(-1)
        changed = (windows[:, 1] != windows[:, 2]).any(-1)
        changed_right += right[changed].float().sum().item()
        num_changed += changed.float().sum().item()
        frames_right += right.flatten(1).all(1).float().sum().item()
    count = len(windows_N3HW2)
    return {
        "fdm/loss": true_loss / count,
        "fdm/loss_shuffled_latent": shuffled_loss / count,
        "fdm/loss_copy_last_frame": copy_last_frame_loss(windows_N3HW2, model.forward_dynamics.category_sizes),
        "fdm/changed_cell_accuracy": changed_right / max(1.0, num_changed),
        "fdm/frame_accuracy": frames_right / count,
    }


def copy_last_frame_loss(windows_N3HW2: Tensor, category_sizes: tuple[int, int]) -> float:
    """Cross-entropy, nats a frame, of predicting o_t again, with the confidence that is best for each channel.

    A channel of C categories that stays the same with frequency q costs -q ln q - (1 - q) ln((1 - q) / (C - 1)) a cell.
    """
    total = 0.0
    cells = windows_N3HW2.shape[2] * windows_N3HW2.shape[3]
    for channel, categories in enumerate(category_sizes):
        same = (windows_N3HW2[:, 1, ..., channel] == windows_N3HW2[:, 2, ..., channel]).float().mean()
        other = 1 - same
        total += (torch.special.entr(same) + torch.special.entr(other)).item() * cells
        total += other.item() * cells * torch.tensor(categories - 1.0).log().item()
    return total


def held_out_metrics(
    model: LatentActionModel,
    *,
    fit_windows: Tensor,
    fit_actions: Tensor,
    test_windows: Tensor,
    test_actions: Tensor,
    num_actions: int,
) -> dict[str, float]:
    """All of the above for ``test_windows`` of held-out episodes; the probes are fitted on ``fit_windows`` of training episodes."""
    fitted, tested = label_in_batches(model, fit_windows), label_in_batches(model, test_windows)
    quantizer = model.settings.quantizer
    effectful = (test_windows[:, 1] != test_windows[:, 2]).flatten(1).any(1)
    return {
        **forward_metrics(model, test_windows, tested.quantized),
        **codebook_metrics(tested.codes, codes_each=quantizer.codes, codebooks=quantizer.codebooks),
        **probe_accuracy(
            fit_latents=fitted.continuous,
            fit_actions=fit_actions,
            test_latents=tested.continuous,
            test_actions=test_actions,
            test_effectful=effectful,
            num_actions=num_actions,
        ),
    }
