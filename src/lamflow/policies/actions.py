"""What an action is: how networks answer it, what a wrong answer costs, how one is chosen, and how right answers are counted.

One class per kind of action space; ``actions_of`` takes that of an environment.

Shapes: B batch, S answers that are averaged, A actions, or entries of one, O width of a network's answer, P numbers of a distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.settings import ActionSelection, BoxLoss, action_outputs
from lamflow.spaces import Box, known_actions
from lamflow.training.agreement import r_squared

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
LOG_DEVIATIONS = (-5.0, 2.0)
"""Between these lies the logarithm of a deviation, in units of half of the space's width."""


class Actions(Protocol):
    """Actions [B, ...] of a space. Networks answer ``num_outputs`` numbers; an ``answer`` is what becomes of these, and may be averaged.

    What learns from rewards (PPO) draws *samples* from a distribution, which ``distribution`` makes of ``num_scores`` numbers per state
    and of ``num_spreads`` that are the same in all states; ``taken`` is what the environment gets of a sample.
    """

    @property
    def num_outputs(self) -> int:
        """O: width of a network's answer."""
        ...

    @property
    def num_scores(self) -> int:
        """What PPO's network answers per state."""
        ...

    @property
    def num_spreads(self) -> int:
        """What PPO learns beside it for all states; begins at 0."""
        ...

    def learnt_by(self, box_loss: BoxLoss) -> Actions:
        """The same actions, of which networks learn what ``box_loss`` says where they are continuous."""
        ...

    def loss(self, outputs_BO: Tensor, actions_B: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """What is minimised, a scalar."""
        ...

    def answer(self, outputs: Tensor) -> Tensor:
        """What may be averaged over answers, float32 [..., answer's width]."""
        ...

    def average(self, weights_BS: Tensor, answers_BSA: Tensor) -> Tensor:
        """The mean answer; weights of a row sum to 1."""
        ...

    def choose(self, answers_BA: Tensor, selection: ActionSelection, generator: torch.Generator) -> Tensor:
        """Actions [B, ...] of answers, as ``selection`` says."""
        ...

    def told(self, answers_BA: Tensor) -> dict[str, Tensor]:
        """What answers say to whoever takes actions without lamflow, by name."""
        ...

    def labels(self, outputs: Tensor) -> Tensor:
        """The most likely actions [..., ...] of a network's outputs [..., O]."""
        ...

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniform actions [count, ...]."""
        ...

    def agreement(self, outputs_BO: Tensor, actions_B: Tensor) -> dict[str, Tensor]:
        """How right the answers are, a scalar each by the name of the measure."""
        ...

    def held_out_agreement(self, outputs_BO: Tensor, actions_B: Tensor, effectful_B: Tensor) -> dict[str, float]:
        """The agreement on held-out transitions, and ``<measure>_effectful`` on those that change the frame (bool [B])."""
        ...

    def distribution(self, scores_BA: Tensor, spreads_A: Tensor) -> Tensor:
        """float32 [B, P]: the numbers of a distribution."""
        ...

    def sample(self, distributions_BP: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A sample [B, ...] of each distribution."""
        ...

    def mode(self, distributions_BP: Tensor) -> Tensor:
        """The likeliest sample [B, ...] of each distribution."""
        ...

    def log_density(self, distributions_BP: Tensor, samples_B: Tensor) -> Tensor:
        """float32 [B]: of the samples, nats."""
        ...

    def entropy(self, distributions_BP: Tensor) -> Tensor:
        """float32 [B], nats."""
        ...

    def taken(self, samples_B: Tensor) -> Tensor:
        """The actions [B, ...] that samples are."""
        ...

    def empty(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Room for samples [*shape, ...]."""
        ...


def actions_of(spec: EnvironmentSpec) -> Actions:
    """The actions of an environment; ValueError where its episodes have none."""
    space = known_actions(spec.action, spec.name)
    return BoxActions(space.low, space.high) if isinstance(space, Box) else DiscreteActions.of(spec)


@dataclass(frozen=True)
class DiscreteActions:
    """Actions 0 .. ``count`` - 1, int64; a network answers a logit each.

    ``class_of_action``: for each action the first one that does the same thing in every state, None where all differ.
    """

    count: int
    class_of_action: tuple[int, ...] | None = None
    num_spreads = 0

    @classmethod
    def of(cls, spec: EnvironmentSpec) -> DiscreteActions:
        """Those of an environment."""
        return cls(spec.num_actions, spec.class_of_action if spec.action_classes else None)

    @property
    def num_outputs(self) -> int:
        """Width of a network's answer."""
        return self.count

    @property
    def num_scores(self) -> int:
        """A logit per action."""
        return self.count

    def learnt_by(self, box_loss: BoxLoss) -> DiscreteActions:
        """By cross-entropy, whatever is said of continuous ones."""
        return self

    def loss(self, outputs_BO: Tensor, actions_B: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy of the actions, nats; outputs are logits [B, A]."""
        return functional.cross_entropy(outputs_BO.float(), actions_B, label_smoothing=label_smoothing)

    def answer(self, outputs: Tensor) -> Tensor:
        """What may be averaged over answers: probabilities float32 [..., A] of logits."""
        return torch.softmax(outputs.float(), dim=-1)

    def log_answer(self, logits: Tensor) -> Tensor:
        """Log-probabilities float32 [..., A]."""
        return torch.log_softmax(logits.float(), dim=-1)

    def average(self, weights_BS: Tensor, answers_BSA: Tensor) -> Tensor:
        """The mean answer [B, A]; weights of a row sum to 1."""
        return (weights_BS[..., None] * answers_BSA).sum(1)

    def most_likely(self, answers: Tensor) -> Tensor:
        """Actions int64 [...] of logits or probabilities [..., A]."""
        return answers.argmax(-1)

    def labels(self, outputs: Tensor) -> Tensor:
        """The most likely actions int64 [...] of logits [..., A]."""
        return self.most_likely(outputs)

    def draw(self, probabilities_BA: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """An action int64 [B] of each distribution."""
        return torch.multinomial(probabilities_BA, 1, generator=generator)[:, 0]

    def choose(self, answers_BA: Tensor, selection: ActionSelection, generator: torch.Generator) -> Tensor:
        """Actions int64 [B] of probabilities, as ``selection`` says."""
        return self.most_likely(answers_BA) if selection == "argmax" else self.draw(answers_BA, generator)

    def told(self, answers_BA: Tensor) -> dict[str, Tensor]:
        """``probabilities`` float32 [B, A], and their logarithms as ``logits``."""
        return {"probabilities": answers_BA, "logits": answers_BA.log()}

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniform actions int64 [count]."""
        return torch.randint(self.count, (count,), generator=generator)

    def agreement(self, outputs_BO: Tensor, actions_B: Tensor) -> dict[str, Tensor]:
        """How right the answers are, a scalar each by name: ``accuracy``, in [0, 1]."""
        return {"accuracy": (self.most_likely(outputs_BO) == actions_B).float().mean()}

    def held_out_agreement(self, outputs_BO: Tensor, actions_B: Tensor, effectful_B: Tensor) -> dict[str, float]:
        """The agreement on held-out transitions, and on those that change the frame (bool [B]): ``accuracy_effectful``. Where actions do
        the same thing, also ``accuracy_classes``: the answer is right when it is in the true action's class."""
        predicted = self.most_likely(outputs_BO)
        right = (predicted == actions_B).float()
        found = {"accuracy": right.mean().item(), "accuracy_effectful": right[effectful_B].mean().item()}
        if self.class_of_action is not None:
            classes = torch.tensor(self.class_of_action, device=actions_B.device)
            found["accuracy_classes"] = (classes[predicted] == classes[actions_B]).float().mean().item()
        return found

    def distribution(self, scores_BA: Tensor, spreads_A: Tensor) -> Tensor:
        """Log-probabilities float32 [B, A] of logits; there are no spreads."""
        return self.log_answer(scores_BA)

    def sample(self, distributions_BP: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """An action int64 [B] of each row of log-probabilities."""
        return self.draw(distributions_BP.exp(), generator)

    def mode(self, distributions_BP: Tensor) -> Tensor:
        """The most likely actions int64 [B]."""
        return self.most_likely(distributions_BP)

    def log_density(self, distributions_BP: Tensor, samples_B: Tensor) -> Tensor:
        """float32 [B]: log-probabilities of actions."""
        return distributions_BP.gather(1, samples_B[:, None])[:, 0]

    def entropy(self, distributions_BP: Tensor) -> Tensor:
        """float32 [B], nats; an action of probability 0 adds nothing."""
        return -(distributions_BP.exp() * distributions_BP.clamp_min(-1e9)).sum(1)

    def taken(self, samples_B: Tensor) -> Tensor:
        """They are the actions."""
        return samples_B

    def empty(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """int64 [*shape]."""
        return torch.zeros(shape, dtype=torch.int64, device=device)


@dataclass(frozen=True)
class BoxActions:
    """Actions float32 [A] between ``low`` and ``high``. Networks answer them in *units*: the space reaches from -1 to 1.

    ``box_loss``: *squared*: outputs are the mean before a tanh, [B, A], learnt by its squared error, as in D4RL's cloning; *gaussian*:
    outputs are mean and logarithm of the deviation, [B, 2A], learnt by likelihood. An answer is mean and deviation, [..., 2A], whatever
    the loss (then the deviation is 0): answers of all kinds are averaged and chosen from alike. What leaves the space is clipped to it.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    box_loss: BoxLoss = "squared"

    @property
    def entries(self) -> int:
        """A."""
        return len(self.low)

    @property
    def num_outputs(self) -> int:
        """A, or 2A."""
        return action_outputs(Box(self.low, self.high), self.box_loss)

    @property
    def num_scores(self) -> int:
        """A mean per entry."""
        return self.entries

    @property
    def num_spreads(self) -> int:
        """The logarithm of a deviation per entry."""
        return self.entries

    def learnt_by(self, box_loss: BoxLoss) -> BoxActions:
        """With that loss."""
        return replace(self, box_loss=box_loss)

    def loss(self, outputs_BO: Tensor, actions_B: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean squared error per entry in units, or mean negative log-likelihood per entry, nats. ValueError with label smoothing."""
        if label_smoothing:
            raise ValueError(f"label_smoothing: found {label_smoothing} for continuous actions, expected 0")
        wanted = self._in_units(actions_B)
        if self.box_loss == "squared":
            return functional.mse_loss(torch.tanh(outputs_BO.float()), wanted)
        return -self.log_density(self._bounded(outputs_BO), wanted).mean() / self.entries

    def answer(self, outputs: Tensor) -> Tensor:
        """Mean and deviation in units, float32 [..., 2A]."""
        if self.box_loss == "squared":
            mean = torch.tanh(outputs.float())
            return torch.cat([mean, torch.zeros_like(mean)], dim=-1)
        mean, log_deviation = self._bounded(outputs).chunk(2, dim=-1)
        return torch.cat([mean, log_deviation.exp()], dim=-1)

    def average(self, weights_BS: Tensor, answers_BSA: Tensor) -> Tensor:
        """Mean and deviation [B, 2A] of the mixture of answers: the variance within them and that between their means."""
        means, deviations = answers_BSA.chunk(2, dim=-1)
        weights = weights_BS[..., None]
        mean = (weights * means).sum(1)
        variance = (weights * (deviations.square() + (means - mean[:, None]).square())).sum(1)
        return torch.cat([mean, variance.sqrt()], dim=-1)

    def choose(self, answers_BA: Tensor, selection: ActionSelection, generator: torch.Generator) -> Tensor:
        """Actions float32 [B, A]: the mean, or drawn from the Gaussian of that mean and deviation."""
        mean, deviation = answers_BA.chunk(2, dim=-1)
        if selection == "argmax":
            return self.taken(mean)
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        return self.taken(mean + deviation * noise)

    def told(self, answers_BA: Tensor) -> dict[str, Tensor]:
        """``mean`` and ``deviation`` float32 [B, A] of a Gaussian in the environment's own numbers, before what leaves the space is
        clipped."""
        mean, deviation = answers_BA.chunk(2, dim=-1)
        low, high = self._bounds(answers_BA.device)
        half = (high - low) / 2
        return {"mean": (low + high) / 2 + half * mean, "deviation": half * deviation}

    def labels(self, outputs: Tensor) -> Tensor:
        """The means, float32 [..., A], of outputs [..., O]."""
        return self.taken(self.answer(outputs)[..., : self.entries])

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniform actions float32 [count, A]."""
        return self.taken(torch.rand((count, self.entries), generator=generator) * 2 - 1)

    def agreement(self, outputs_BO: Tensor, actions_B: Tensor) -> dict[str, Tensor]:
        """``r2``: the mean over entries of the coefficient of determination, at most 1; see ``r_squared``."""
        return {"r2": r_squared(self.labels(outputs_BO), actions_B).nanmean().float()}

    def held_out_agreement(self, outputs_BO: Tensor, actions_B: Tensor, effectful_B: Tensor) -> dict[str, float]:
        """``r2``, on transitions that change the frame ``r2_effectful``, and of each entry ``r2_entry<i>``, over all."""
        predicted = self.labels(outputs_BO)
        each = r_squared(predicted, actions_B)
        effectful = r_squared(predicted[effectful_B], actions_B[effectful_B])
        found = {"r2": each.nanmean().item(), "r2_effectful": effectful.nanmean().item()}
        return found | {f"r2_entry{index}": value for index, value in enumerate(each.tolist())}

    def distribution(self, scores_BA: Tensor, spreads_A: Tensor) -> Tensor:
        """float32 [B, 2A]: means in units, and logarithms of deviations that are the same in all states."""
        means = scores_BA.float()
        return torch.cat([means, spreads_A.float().expand_as(means)], dim=-1)

    def sample(self, distributions_BP: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """float32 [B, A] in units, also outside of the space."""
        mean, log_deviation = distributions_BP.chunk(2, dim=-1)
        device = mean.device if generator is None else generator.device
        noise = torch.randn(mean.shape, generator=generator, device=device).to(mean.device)
        return mean + log_deviation.exp() * noise

    def mode(self, distributions_BP: Tensor) -> Tensor:
        """The means float32 [B, A] in units."""
        return distributions_BP.chunk(2, dim=-1)[0]

    def log_density(self, distributions_BP: Tensor, samples_B: Tensor) -> Tensor:
        """float32 [B], nats, of samples float32 [B, A] in units: that of a Gaussian with a diagonal covariance."""
        mean, log_deviation = distributions_BP.chunk(2, dim=-1)
        distances = (samples_B - mean) * (-log_deviation).exp()
        return (-0.5 * distances.square() - log_deviation).sum(-1) - self.entries * HALF_LOG_2PI

    def entropy(self, distributions_BP: Tensor) -> Tensor:
        """float32 [B], nats."""
        return distributions_BP.chunk(2, dim=-1)[1].sum(-1) + self.entries * (0.5 + HALF_LOG_2PI)

    def taken(self, samples_B: Tensor) -> Tensor:
        """float32 [..., A]: out of units, and clipped to the space."""
        low, high = self._bounds(samples_B.device)
        actions = (low + high) / 2 + (high - low) / 2 * samples_B.float()
        return actions.maximum(low).minimum(high)

    def empty(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """float32 [*shape, A]."""
        return torch.zeros((*shape, self.entries), device=device)

    def _bounds(self, device: torch.device) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.low, device=device), torch.tensor(self.high, device=device)

    def _in_units(self, actions: Tensor) -> Tensor:
        """float32 [..., A]; an entry that has one value only is 0."""
        low, high = self._bounds(actions.device)
        half = (high - low) / 2
        return torch.where(half > 0, (actions.float() - (low + high) / 2) / half.clamp_min(1e-30), 0.0)

    def _bounded(self, outputs: Tensor) -> Tensor:
        """float32: outputs whose deviations lie within ``LOG_DEVIATIONS``."""
        mean, log_deviation = outputs.float().chunk(2, dim=-1)
        return torch.cat([mean, log_deviation.clamp(*LOG_DEVIATIONS)], dim=-1)
