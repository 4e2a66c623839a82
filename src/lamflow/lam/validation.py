"""What is measured of a latent action model on held-out episodes while it trains.

Shapes: N rows, D latent width, T codes a frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lamflow.data.held_windows import HeldWindows, inference_batches
from lamflow.data.windows import FRAMES, frames_differ
from lamflow.lam.frame_metrics import frame_metrics
from lamflow.lam.model import LatentActionModel, Latents
from lamflow.lam.probe import Probed, probe_metrics
from lamflow.lam.supervision import SupervisedLam


def label_rows(model: LatentActionModel, held: HeldWindows) -> Latents:
    """``model.label`` of its windows at some rows."""
    parts = [model.label(window) for window in held.windows()]
    return Latents(*(torch.cat(values) for values in zip(*parts, strict=True)))


def effectful_rows(held: HeldWindows, tolerance: float = 0) -> Tensor:
    """bool [N]: the transition at that row changes the frame; ``tolerance``: of the store's frames."""
    pairs = ((window.at(FRAMES), window.at(FRAMES, 1)) for window in held.windows())
    return torch.cat([frames_differ(present, following, tolerance).flatten(1).any(1) for present, following in pairs])


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


def latent_metrics(latents: Latents) -> dict[str, float]:
    """How far the latents of transitions differ, whatever their scale, and how many codes they effectively have.

    The deviation is the root mean square distance of the continuous latents to their mean, as a share of their root mean square
    length: 0 (all alike) .. 1. The joint perplexity is that of whole codes, all tokens together; absent without codes.
    """
    continuous_ND = latents.continuous.double()
    length = continuous_ND.square().sum()
    distance = (continuous_ND - continuous_ND.mean(0)).square().sum()
    found = {"latent/deviation": (distance / length).sqrt().item() if length > 0 else 0.0}
    if latents.codes.shape[1]:
        counts = torch.unique(latents.codes, dim=0, return_counts=True)[1]
        frequencies = counts.double() / counts.sum()
        found["codebook/joint_perplexity"] = torch.special.entr(frequencies).sum().exp().item()
    return found


def error_of_mean(values_N: Tensor, groups_N: Tensor) -> float:
    """Standard error of the mean of float64 [N] whose values depend on each other within a group (int64 [N]: an episode).

    The linearised error of a mean over clusters; ``nan`` when there is one group alone.
    """
    members = torch.unique(groups_N, return_inverse=True)[1]
    deviations_G = values_N.new_zeros(int(members.max()) + 1).index_add(0, members, values_N - values_N.mean())
    count = len(deviations_G)
    if count < 2:
        return float("nan")
    return (deviations_G.square().sum() * count / (count - 1)).sqrt().item() / len(values_N)


@torch.no_grad()
def forward_metrics(
    model: LatentActionModel, held: HeldWindows, quantized_ND: Tensor, tolerance: float = 0
) -> dict[str, float]:
    """How well the FDM predicts held-out frames, and how much of that it owes to the latent.

    Losses (see ``LatentActionModel.prediction_loss``) with the true latent, with another transition's (and the standard error of the
    difference), and of copying the last frame; and the accuracies that suit the kind of frame.
    """
    generator = torch.Generator().manual_seed(0)
    shuffled_ND = quantized_ND[torch.randperm(len(quantized_ND), generator=generator).to(quantized_ND.device)]
    frames = frame_metrics(model.spec, tolerance)
    true_loss = shuffled_loss = 0.0
    differences: list[Tensor] = []
    parts = zip(held.windows(), inference_batches(quantized_ND), inference_batches(shuffled_ND), strict=True)
    for window, quantized, shuffled in parts:
        true_losses, shuffled_losses = (model.prediction_loss(window, latents) for latents in (quantized, shuffled))
        true_loss += true_losses.sum().item()
        shuffled_loss += shuffled_losses.sum().item()
        differences.append(shuffled_losses.double() - true_losses.double())
        frames.add(model, window, quantized)
    loss = true_loss / len(held.rows)
    error = error_of_mean(torch.cat(differences), held.bounds.starts[held.rows])
    return {
        "fdm/loss": loss,
        "fdm/loss_shuffled_latent": shuffled_loss / len(held.rows),
        **({} if math.isnan(error) else {"fdm/loss_difference_error": error}),
        **frames.values(loss),
    }


def held_out_metrics(
    model: LatentActionModel,
    *,
    test: HeldWindows,
    fit: HeldWindows,
    judged: HeldWindows,
    tolerance: float = 0,
    supervised: SupervisedLam | None = None,
) -> dict[str, float]:
    """All of the above for the transitions ``test`` of held-out episodes, whose actions need not be known.

    Probes are fitted on the transitions ``fit`` of training episodes, and judged on those ``judged`` of held-out ones: their actions are
    known. Where there are none of the one or the other, nothing is said of actions but how many there are. ``tolerance``: of the held-out
    store's frames. ``supervised``: a model that also learns from labels, and whose head reads actions off latents.
    """
    tested = label_rows(model, test)
    quantizer = model.settings.quantizer
    found = {
        **forward_metrics(model, test, tested.quantized, tolerance),
        **latent_metrics(tested),
        **codebook_metrics(tested.codes, codes_each=quantizer.num_codes, codebooks=quantizer.num_codebooks),
    }
    if len(fit.rows) or len(judged.rows):
        found |= {"probe/fitted_transitions": len(fit.rows), "probe/judged_transitions": len(judged.rows)}
    if not len(judged.rows):
        return found
    latents_ND = (tested if judged is test else label_rows(model, judged)).continuous
    known = Probed(latents_ND, judged.at("actions"))
    if len(fit.rows):
        fitted = Probed(label_rows(model, fit).continuous, fit.at("actions"))
        found |= probe_metrics(model.spec, fitted, known, effectful_rows(judged, tolerance))
    return found | (_supervision_metrics(supervised, known.latents, known.actions) if supervised else {})


@torch.no_grad()
def _supervision_metrics(supervised: SupervisedLam, latents_ND: Tensor, actions_N: Tensor) -> dict[str, float]:
    agreement = supervised.space.agreement(supervised.head(latents_ND), actions_N)
    return {f"supervision/{name}": value.item() for name, value in agreement.items()}
