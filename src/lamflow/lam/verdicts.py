"""Whether a latent action model can be trusted, judged by its last validation metrics alone.

Thresholds are reasons, not fits: docs/metrics.md has the source or the measurement behind each. torch is not needed here, so tables
are judged quickly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

RERUNS_NOTHING = "It warns where models are made; the table of verdicts has its digest among its params."

FEWEST_CODES = 1.5
"""Effective codes below which a codebook has collapsed: as if one code stood for 86% of the transitions."""
LEAST_DEVIATION = 2.0**-8
"""Share of continuous latents by which they must differ: the resolution of bfloat16, in which networks may read them."""
LEAST_GAIN = 0.05
"""Share of the loss that the true latent must save beside another transition's."""
STANDARD_ERRORS = 1.96
"""Of a 95% interval."""
LEAST_EXPLAINED = 0.5
"""Share of the cost of copying below which a prediction is, in the mean, nearer to the next frame than to the present one."""
FEWEST_LABELS = 100
"""Labelled transitions below which a probe says nothing: an accuracy has an interval of up to +-.10 then."""
_MORE_LABELS = (
    f"Give training and validation splits {FEWEST_LABELS} labelled transitions or more (`collection.train_episodes`, "
    "`collection.validation_episodes`), and go by the losses until then."
)
NEEDED = ("fdm/loss", "fdm/loss_shuffled_latent", "fdm/loss_copy_last_frame")
"""Metrics without which nothing can be judged."""


class Finding(StrEnum):
    """The verdicts, worst first; a model gets the first that is true of it."""

    COLLAPSED = "collapsed"
    IGNORED = "latent ignored"
    COPIES = "prediction no better than copying the last frame"
    FEW_LABELS = "too few labels"
    HEALTHY = "healthy"


@dataclass(frozen=True)
class Verdict:
    """``reason``: the figures in a sentence and, unless the model is healthy, what to try in another."""

    finding: Finding
    reason: str

    def __str__(self) -> str:
        return f"{self.finding}. {self.reason}"


def judge(metrics: Mapping[str, float]) -> Verdict:
    """The verdict on a model whose last validation found ``metrics``; docs/metrics.md explains their names.

    Metrics that older versions did not measure may be absent or ``nan``: what needs them is not judged. ValueError when one of
    ``NEEDED`` is.
    """
    known = {name: value for name, value in metrics.items() if not math.isnan(value)}
    if missing := [name for name in NEEDED if name not in known]:
        raise ValueError(f"no verdict without {', '.join(missing)}: train the model again with validation enabled")
    checks = {
        Finding.COLLAPSED: _collapsed(known),
        Finding.IGNORED: _ignored(known),
        Finding.COPIES: _copies(known),
        Finding.FEW_LABELS: _few_labels(known),
    }
    found = [Verdict(finding, reason) for finding, reason in checks.items() if reason]
    return found[0] if found else Verdict(Finding.HEALTHY, _healthy(known))


def verdict_of(metrics: Mapping[str, float]) -> str:
    """The verdict in words, or why there is none."""
    try:
        return str(judge(metrics))
    except ValueError as error:
        return str(error)


def interval_of_share(share: float, count: float) -> tuple[float, float]:
    """The 95% interval of a share in [0, 1] found in ``count`` trials (Wilson 1927)."""
    squared = STANDARD_ERRORS**2
    middle = (share + squared / (2 * count)) / (1 + squared / count)
    half = STANDARD_ERRORS * math.sqrt(share * (1 - share) / count + squared / (4 * count**2)) / (1 + squared / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _collapsed(metrics: Mapping[str, float]) -> str:
    if (codes := effective_codes(metrics)) is not None:
        if codes >= FEWEST_CODES:
            return ""
        return (
            f"Nearly all held-out transitions have the same code (effective number of codes {codes:.2f}; "
            f"{_losses(metrics)}). Try `quantizer.revive_below: 0.3` with `quantizer.decay: 0.99`, then more `training.steps`."
        )
    deviation = metrics.get("latent/deviation")
    if deviation is None or deviation >= LEAST_DEVIATION:
        return ""
    return (
        f"Latents of different held-out transitions are the same but for {deviation:.2%} of their size "
        f"({_losses(metrics)}). Try a lower `training.learning_rate`, no `training.weight_decay`, or `quantizer.kind: vq_ema`."
    )


def effective_codes(metrics: Mapping[str, float]) -> float | None:
    """The effective number of whole codes; of a codebook's pooled tokens where an older version measured no other; None without
    codes."""
    return metrics.get("codebook/joint_perplexity", metrics.get("codebook/perplexity"))


def _ignored(metrics: Mapping[str, float]) -> str:
    loss, shuffled = metrics["fdm/loss"], metrics["fdm/loss_shuffled_latent"]
    error = metrics.get("fdm/loss_difference_error", 0.0)
    if shuffled - loss > max(STANDARD_ERRORS * error, LEAST_GAIN * shuffled):
        return ""
    known = f", a difference of {shuffled - loss:.2g} +- {STANDARD_ERRORS * error:.2g}" if error else ""
    return (
        f"The next frame is predicted about as well with the latent of another transition (loss {shuffled:.4g}, with the true one "
        f"{loss:.4g}{known}). Try more `training.steps`, and see in the episodes whether actions change the frames enough to be seen."
    )


def _copies(metrics: Mapping[str, float]) -> str:
    loss, copied = metrics["fdm/loss"], metrics["fdm/loss_copy_last_frame"]
    nearer = metrics.get("fdm/nearer_next_frame", 1.0)
    if loss < copied and (nearer > 0.5 or loss < LEAST_EXPLAINED * copied):
        return ""
    return (
        f"The prediction costs {loss:.4g}, copying the present frame {copied:.4g}; {nearer:.0%} of the predictions are nearer to the "
        "next frame than to the present one. Try more `training.steps` or a higher `training.learning_rate`; over pixels also "
        "`forward_dynamics.target: change`."
    )


def _few_labels(metrics: Mapping[str, float]) -> str:
    fitted, judged = (metrics.get(f"probe/{name}_transitions", math.inf) for name in ("fitted", "judged"))
    accuracy, r_squared = metrics.get("probe/mlp_accuracy"), metrics.get("probe/mlp_r2")
    if min(fitted, judged) >= FEWEST_LABELS:
        return ""
    if r_squared is not None and judged > 0:
        return (
            f"The probe's R² of {r_squared:.2f} says little: it was fitted on {fitted:.0f} labelled transitions and judged on "
            f"{judged:.0f}. {_MORE_LABELS}"
        )
    if accuracy is None or judged == 0:
        return (
            f"No probe could be fitted and judged: there are {fitted:.0f} labelled transitions for the one and {judged:.0f} for the "
            f"other. {_MORE_LABELS}"
        )
    low, high = interval_of_share(accuracy, judged)
    return (
        f"The probe's accuracy of {accuracy:.2f} says little: it was fitted on {fitted:.0f} labelled transitions and judged on "
        f"{judged:.0f} (95% interval {low:.2f} to {high:.2f}). {_MORE_LABELS}"
    )


def _healthy(metrics: Mapping[str, float]) -> str:
    facts = [_losses(metrics)]
    if "fdm/nearer_next_frame" in metrics:
        facts.append(f"{metrics['fdm/nearer_next_frame']:.0%} of predictions nearer to the next frame")
    if (codes := effective_codes(metrics)) is not None:
        facts.append(f"effective number of codes {codes:.3g}")
    if (accuracy := metrics.get("probe/mlp_accuracy_effectful")) is not None:
        facts.append(f"the true action read off {accuracy:.0%} of latents of transitions that change the frame")
    if (r_squared := metrics.get("probe/mlp_r2_effectful")) is not None:
        facts.append(
            f"the true action read off latents of transitions that change the frame with an R² of {r_squared:.2f}"
        )
    if accuracy is None and r_squared is None:
        facts.append("no probe of true actions")
    text = "; ".join(facts)
    return f"{text[0].upper()}{text[1:]}."


def _losses(metrics: Mapping[str, float]) -> str:
    loss, shuffled, copied = (metrics[name] for name in NEEDED)
    return f"loss {loss:.4g}, with another transition's latent {shuffled:.4g}, of copying {copied:.4g}"
