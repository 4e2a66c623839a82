"""Point estimates and 95% intervals of agents' returns: mean, interquartile mean, success rate, probability of improvement,
performance profiles, paired differences.

The estimators are those of Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv 2108.13264), and agree with its library ``rliable``. An environment is a stratum: an array of scores [S, D, E] with S
seeds, D label draws a seed and E episodes an agent. An agent's score is the mean over its episodes; aggregates are taken over
agents and strata. Where ``rliable`` resamples runs, the intervals here resample the whole way down: seeds, then label draws
within the seed, then episodes within the agent. With one draw and one episode an agent this is ``rliable``'s stratified
bootstrap. Resampling episodes as well makes the intervals slightly conservative, and meaningful with a single seed.

Shapes: S seeds, D label draws, E episodes, N = S * D agents, R bootstrap resamples, T thresholds or points of a curve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamflow.evaluation.normalisers import Normaliser

Floats = NDArray[np.float64]
Aggregate = Callable[[Sequence[Floats]], Floats]
"""Agents' scores of each stratum, [..., N] each, to one number for each leading index, [...]."""

CONFIDENCE = 0.95
MAX_DRAWN = 1 << 22
"""Episodes drawn at once: bounds the memory of the bootstrap to some 100 MB."""


@dataclass(frozen=True)
class Estimate:
    """A point estimate and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Band:
    """Point estimates along an axis and the ends of their pointwise intervals, each [T]."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Resampled:
    """Agents' scores of one stratum, ``scores`` [N], and of its bootstrap resamples, ``resamples`` [R, N]."""

    scores: Floats
    resamples: Floats


def normalized_return(returns: ArrayLike, *, random: ArrayLike, expert: ArrayLike) -> Floats:
    """(G - random) / (expert - random): 0 is a random policy and 1 the demonstrator; any shapes that broadcast.

    ValueError when a reference is not finite, or the expert's not above random's by more than rounding.
    """
    low, high = np.asarray(random, float), np.asarray(expert, float)
    for worse, better in np.broadcast(low, high):
        if problem := Normaliser(float(worse), float(better)).problem():
            raise ValueError(
                f"returns of random ({worse:g}) and expert ({better:g}): {problem}: there is nothing to normalise by"
            )
    normalized: Floats = (np.asarray(returns, float) - low) / (high - low)
    return normalized


def interquartile_mean(scores: Floats) -> Floats:
    """Mean of the middle half along the last axis: the lowest and the highest floor(N / 4) scores are left out."""
    count = scores.shape[-1]
    cut = count // 4
    middle: Floats = np.sort(scores, axis=-1)[..., cut : count - cut].mean(-1)
    return middle


def stratified_mean(strata: Sequence[Floats]) -> Floats:
    """Mean over strata of the mean over agents, so that every environment counts the same; [..., N] each -> [...]."""
    mean: Floats = np.mean([scores.mean(-1) for scores in strata], axis=0)
    return mean


def stratified_iqm(strata: Sequence[Floats]) -> Floats:
    """Interquartile mean over all agents of all strata; [..., N] each -> [...]."""
    return interquartile_mean(np.concatenate(list(strata), axis=-1))


def probability_of_improvement(a: Sequence[Floats], b: Sequence[Floats]) -> Floats:
    """Chance that an agent of method A beats one of method B in the same environment, averaged over environments.

    ``a`` and ``b``: agents' scores of the same strata in the same order, [..., N] each (N may differ). Ties count half.
    """
    if len(a) != len(b):
        raise ValueError(
            f"probability of improvement needs the same environments on both sides; found {len(a)} and {len(b)}"
        )
    wins = []
    for ours, theirs in zip(a, b, strict=True):
        difference = ours[..., :, None] - theirs[..., None, :]
        wins.append(((difference > 0) + 0.5 * (difference == 0)).mean((-2, -1)))
    probability: Floats = np.mean(wins, axis=0)
    return probability


def resample(stratum: Floats, *, samples: int, seed: int | Sequence[int]) -> Resampled:
    """Hierarchical bootstrap of one stratum [S, D, E]: ``samples`` resamples of its S * D agents' mean scores.

    Each resample draws, with replacement, S seeds, D label draws for each of those, and E episodes for each of these.
    Equal inputs and ``seed`` give equal resamples. ValueError when the stratum is empty or holds a number that is not finite.
    """
    if stratum.ndim != 3 or not stratum.size:
        raise ValueError(f"found scores of shape {stratum.shape}, expected [seeds, label draws, episodes], none empty")
    if not np.isfinite(stratum).all():
        raise ValueError("found scores that are NaN or infinite, expected finite ones")
    rng = np.random.default_rng(seed)
    at_once = max(1, MAX_DRAWN // stratum.size)
    sizes = [min(at_once, samples - start) for start in range(0, samples, at_once)]
    parts = [_draw(stratum, size, rng) for size in sizes]
    return Resampled(stratum.mean(-1).reshape(-1), np.concatenate(parts))


def resample_scores(errors: Floats, scales: Floats, *, samples: int, seed: int | Sequence[int]) -> Resampled:
    """``resample`` of agents whose score is no mean over episodes but ``scores_of`` the sums over them: [S, D, E, A] each."""
    assert errors.shape == scales.shape and errors.ndim == 4 and errors.size
    rng = np.random.default_rng(seed)
    at_once = max(1, MAX_DRAWN // errors.size)
    parts, flat = [], [values.reshape(-1, values.shape[-1]) for values in (errors, scales)]
    for start in range(0, samples, at_once):
        places = _drawn((*errors.shape[:3],), min(at_once, samples - start), rng)
        parts.append(scores_of(*(values[places].sum(-2) for values in flat)))
    found = np.concatenate(parts)
    return Resampled(scores_of(errors.sum(2), scales.sum(2)).reshape(-1), found.reshape(samples, -1))


def scores_of(errors: Floats, scales: Floats) -> Floats:
    """1 - error / scale of sums over episodes [..., A], the mean over the entries whose scale is not 0: [...]; 0 where there is none."""
    varies = scales > 0
    scores = np.where(varies, 1 - errors / np.where(varies, scales, 1), 0)
    mean: Floats = scores.sum(-1) / np.maximum(varies.sum(-1), 1)
    return mean


def _draw(stratum: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """``samples`` resamples of one stratum [S, D, E]: agents' scores [samples, S * D]."""
    num_seeds, num_draws, _ = stratum.shape
    scores = stratum.reshape(-1).take(_drawn(stratum.shape, samples, rng)).mean(-1)
    return scores.reshape(samples, num_seeds * num_draws)


def _drawn(shape: tuple[int, ...], samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Where the episodes of ``samples`` resamples of one stratum [S, D, E] stand in it, int64 [samples, S, D, E]."""
    num_seeds, num_draws, num_episodes = shape
    seeds = rng.integers(num_seeds, size=(samples, num_seeds, 1))
    draws = rng.integers(num_draws, size=(samples, num_seeds, num_draws))
    agents = (seeds * num_draws + draws)[..., None]
    episodes = rng.integers(num_episodes, size=(*draws.shape, num_episodes), dtype=np.int32)
    places: NDArray[np.int64] = agents * num_episodes + episodes
    return places


def estimate(aggregate: Aggregate, strata: Sequence[Resampled]) -> Estimate:
    """An aggregate over strata with the percentile interval of its resamples; strata are resampled independently."""
    value = aggregate([stratum.scores for stratum in strata])
    return _with_interval(value, aggregate([stratum.resamples for stratum in strata]))


def estimate_improvement(a: Sequence[Resampled], b: Sequence[Resampled]) -> Estimate:
    """Probability that method A improves on B with its percentile interval; give each a seed of its own in ``resample``."""
    value = probability_of_improvement([stratum.scores for stratum in a], [stratum.scores for stratum in b])
    resamples = probability_of_improvement([stratum.resamples for stratum in a], [stratum.resamples for stratum in b])
    return _with_interval(value, resamples)


def difference(ours: Resampled, theirs: Resampled) -> Resampled:
    """Paired difference of one stratum: each agent of one method minus the same agent of the other, in every resample too.

    Pairs hold where both strata had one shape and the same seed in ``resample``, which then drew the same seeds, label draws and
    episodes for both: the result is that of ``resample`` on the difference of the episodes. ValueError when the shapes differ.
    """
    if ours.resamples.shape != theirs.resamples.shape:
        raise ValueError(
            f"paired differences need as many agents and resamples on both sides; found {ours.resamples.shape} and "
            f"{theirs.resamples.shape}"
        )
    return Resampled(ours.scores - theirs.scores, ours.resamples - theirs.resamples)


def estimate_profile(strata: Sequence[Resampled], thresholds: Floats) -> Band:
    """Performance profile: the fraction of agents with a score above each of ``thresholds`` [T], every stratum counting the same."""
    values, resamples = (
        np.mean([[above(scores, threshold) for threshold in thresholds] for scores in sides], axis=0)
        for sides in ([stratum.scores for stratum in strata], [stratum.resamples for stratum in strata])
    )
    return _with_band(values, resamples.T)


def estimate_curve(strata: Sequence[Floats], *, samples: int, seeds: Sequence[int | Sequence[int]]) -> Band:
    """Mean over strata of the mean over seeds at each of T points; ``strata``: [S, T] each, one seed of the bootstrap a stratum.

    A resample draws S seeds with replacement, the same ones for all points. Points where a seed has NaN are NaN.
    """
    resampled = np.zeros((samples, strata[0].shape[1]))
    for scores, seed in zip(strata, seeds, strict=True):
        drawn = np.random.default_rng(seed).integers(len(scores), size=(samples, len(scores)))
        # How often each seed was drawn, as a matrix product: never an array of [samples, S, T].
        weights = (drawn[:, :, None] == np.arange(len(scores))).mean(1)
        resampled += np.einsum("rs,st->rt", weights, scores) / len(strata)
    return _with_band(np.mean([scores.mean(0) for scores in strata], axis=0), resampled)


def above(scores: Floats, threshold: float) -> Floats:
    """Share of agents whose score is above ``threshold``; [..., N] -> [...]."""
    share: Floats = (scores > threshold).mean(-1)
    return share


def _interval(resampled: Floats) -> tuple[Floats, Floats]:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(resampled, [tail, 100 - tail], axis=0)
    return low, high


def _with_interval(value: Floats, resampled: Floats) -> Estimate:
    low, high = _interval(resampled)
    return Estimate(float(value), float(low), float(high))


def _with_band(values: Floats, resampled: Floats) -> Band:
    """``values`` [T] with the percentiles of ``resampled`` [R, T]."""
    return Band(values, *_interval(resampled))
