"""What an action is: how networks answer it, what a wrong answer costs, how one is chosen, and how right answers are counted.

Shapes: B batch, S answers that are averaged, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.settings import ActionSelection


@dataclass(frozen=True)
class DiscreteActions:
    """Actions 0 .. ``count`` - 1, int64; a network answers a logit each.

    ``class_of_action``: for each action the first one that does the same thing in every state, None where all differ.
    """

    count: int
    class_of_action: tuple[int, ...] | None = None

    @classmethod
    def of(cls, spec: EnvironmentSpec) -> DiscreteActions:
        """Those of an environment."""
        return cls(spec.num_actions, spec.class_of_action if spec.action_classes else None)

    @property
    def num_outputs(self) -> int:
        """Width of a network's answer."""
        return self.count

    def loss(self, logits_BA: Tensor, actions_B: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy of the actions, nats."""
        return functional.cross_entropy(logits_BA.float(), actions_B, label_smoothing=label_smoothing)

    def answer(self, logits: Tensor) -> Tensor:
        """What may be averaged over answers: probabilities float32 [..., A]."""
        return torch.softmax(logits.float(), dim=-1)

    def log_answer(self, logits: Tensor) -> Tensor:
        """Log-probabilities float32 [..., A]."""
        return torch.log_softmax(logits.float(), dim=-1)

    def average(self, weights_BS: Tensor, answers_BSA: Tensor) -> Tensor:
        """The mean answer [B, A]; weights of a row sum to 1."""
        return (weights_BS[..., None] * answers_BSA).sum(1)

    def most_likely(self, answers: Tensor) -> Tensor:
        """Actions int64 [...] of logits or probabilities [..., A]."""
        return answers.argmax(-1)

    def draw(self, probabilities_BA: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """An action int64 [B] of each distribution."""
        return torch.multinomial(probabilities_BA, 1, generator=generator)[:, 0]

    def choose(self, answers_BA: Tensor, selection: ActionSelection, generator: torch.Generator) -> Tensor:
        """Actions int64 [B] of probabilities, as ``selection`` says."""
        return self.most_likely(answers_BA) if selection == "argmax" else self.draw(answers_BA, generator)

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniform actions int64 [count]."""
        return torch.randint(self.count, (count,), generator=generator)

    def agreement(self, logits_BA: Tensor, actions_B: Tensor) -> dict[str, Tensor]:
        """How right the answers are, a scalar each by name: ``accuracy``, in [0, 1]."""
        return {"accuracy": (self.most_likely(logits_BA) == actions_B).float().mean()}

    def held_out_agreement(self, logits_BA: Tensor, actions_B: Tensor, effectful_B: Tensor) -> dict[str, float]:
        """The agreement on held-out transitions, and on those that change the frame (bool [B]): ``accuracy_effectful``. Where actions do
        the same thing, also ``accuracy_classes``: the answer is right when it is in the true action's class."""
        predicted = self.most_likely(logits_BA)
        right = (predicted == actions_B).float()
        found = {"accuracy": right.mean().item(), "accuracy_effectful": right[effectful_B].mean().item()}
        if self.class_of_action is not None:
            classes = torch.tensor(self.class_of_action, device=actions_B.device)
            found["accuracy_classes"] = (classes[predicted] == classes[actions_B]).float().mean().item()
        return found
