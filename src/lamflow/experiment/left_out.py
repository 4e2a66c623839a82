"""What an experiment leaves out where nobody plays, or where nobody knows the actions, and what that leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamflow.experiment.experiment import Experiment

RERUNS_NOTHING = "Its sentences are among the params of the job that writes them down."


def left_out(experiment: Experiment) -> list[str]:
    """For people, a text per reason."""
    recorded = [env for env in experiment.envs if not experiment.is_played(env)]
    unknown = [env for env in experiment.envs if not experiment.has_actions(env)]
    texts = []
    if recorded:
        texts.append(
            f"Nobody plays {', '.join(recorded)}: there are recordings alone. So there are no rollouts, returns or films. Where actions "
            "are known, the answers of agents and decoders are compared with those of held-out recordings."
        )
    if unknown:
        texts.append(
            f"No action of {', '.join(unknown)} is known. So there are no label budgets, probes, decoders or agents. What is left are "
            "the latent action models, how well they predict, their codes and latents, verdicts without a probe, and latent policies."
        )
    idle = idle_methods(experiment)
    for env in dict.fromkeys(env for _, env in idle):
        names = ", ".join(name for name, where in idle if where == env)
        texts.append(f"Methods that need actions learn nothing of {env}: {names}.")
    return texts


def idle_methods(experiment: Experiment) -> list[tuple[str, str]]:
    """Methods, each with an environment that it learns nothing of, as it needs actions."""
    learning = [name for name, method in experiment.methods.items() if method.needs("policy") is not None]
    return [
        (name, env)
        for env in experiment.envs
        for name in experiment.methods_of(env)
        if name in learning and not experiment.does(env, name, "policy")
    ]
