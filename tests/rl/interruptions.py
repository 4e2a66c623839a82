"""PPO that is interrupted in the middle of a training."""

import pytest

from lamflow.rl.ppo import PpoLearner


def interrupt_third_rollout(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The third rollout from now on raises KeyboardInterrupt, those after it do not; an entry for each that began."""
    play, rollouts = PpoLearner.play_rollout, []

    def interrupted_play(self: PpoLearner) -> None:
        rollouts.append(1)
        if len(rollouts) == 3:
            raise KeyboardInterrupt
        play(self)

    monkeypatch.setattr(PpoLearner, "play_rollout", interrupted_play)
    return rollouts
