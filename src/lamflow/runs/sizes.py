"""What networks cost: multiply-accumulates per sample, and parameters. Each is counted once, and its size is kept between processes.

``lamflow.runs.counting`` builds the very networks and has torch count them. To import torch alone takes longer than to plan a small
experiment, and every job's process asks for its memory; so it is imported where a size is not known yet, and nowhere else. Where there is
no place to keep sizes (``lamflow.caches``), each process counts anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache, wraps
from importlib.metadata import version
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from lamflow.caches import cache_folder
from lamflow.code_digests import parsed_module
from lamflow.envs.spec import EnvironmentSpec
from lamflow.kept_answers import KeptAnswers
from lamflow.lam.settings import LamSettings
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.methods.online_settings import OnlineMethodSettings
from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.networks.settings import EncoderSettings, Symmetry
from lamflow.policies.settings import DecoderSettings, HeadSettings, PolicySettings
from lamflow.settings import Settings
from lamflow.stages.code import stage_code


class NetworkSize(NamedTuple):
    """Multiply-accumulates per sample of what the network does, forward, and all of its parameters."""

    macs: int
    parameters: int


class ActorCriticSize(NamedTuple):
    """Of what PPO trains: ``macs`` of a step; ``trained_macs``, the part of them that each epoch computes again; ``kept_bytes`` of each
    step that the epochs read."""

    macs: int
    parameters: int
    trained_macs: int
    kept_bytes: int


OF_TRAINING = frozenset({"training", "ppo", "episodes"})
"""Keys of settings that say how a network is trained, and on how much, which changes nothing of its size."""

Size = TypeVar("Size", NetworkSize, ActorCriticSize)
P = ParamSpec("P")
Counts = Callable[Concatenate[EnvironmentSpec, P], Size]


@cache
def known_sizes() -> KeptAnswers[tuple[int, ...]]:
    """By digests of what was counted and of the code that it is made of."""
    folder = cache_folder("sizes")
    return KeptAnswers(folder / "sizes.json" if folder else None, lambda kept: tuple(map(int, kept)))


def counted_once(kind: type[Size], module: str) -> Callable[[Counts[P, Size]], Counts[P, Size]]:
    """A function whose answer is kept: by its name and arguments, and by the code of ``module``, which has the network, and of the
    components that the arguments name. What cannot be counted fails at once when it is asked for again."""

    def decorate(count: Counts[P, Size]) -> Counts[P, Size]:
        answers: dict[str, Size | Exception] = {}

        @wraps(count)
        def known(spec: EnvironmentSpec, /, *parts: P.args, **named: P.kwargs) -> Size:
            question = json.dumps([_facts(spec), _said(parts), _said(named)], sort_keys=True)
            if question not in answers:
                try:
                    code = stage_code(module, spec, [*parts, *named.values()]).digest
                    key = " ".join([_counter(), count.__name__, code, question])
                    answers[question] = kind(*_kept(key, lambda: count(spec, *parts, **named)))
                except Exception as error:  # hundreds of jobs may have this network, which would fail for each of them
                    answers[question] = error
            answer = answers[question]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return known

    return decorate


def _kept(question: str, count: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
    """What was counted by an earlier process, or is now."""
    sizes, key = known_sizes(), hashlib.sha256(question.encode()).hexdigest()
    if key not in sizes:
        sizes[key] = count()
        sizes.is_new = True
        sizes.save()  # at once, for the processes of jobs
    return sizes[key]


@cache
def _counter() -> str:
    """What counts: this module, that which builds, and torch."""
    return " ".join([*(parsed_module(name).digest for name in (__name__, "lamflow.runs.counting")), version("torch")])


def _facts(spec: EnvironmentSpec) -> list[Any]:
    """What a network's size may depend on. ASSUME: the name, the simulator, the levels and the returns change nothing of it."""
    facts = spec.facts()
    return [spec.view, spec.main, facts["observation"], facts["action"]]


def _said(part: Any) -> Any:
    """An argument as JSON can hold it."""
    if isinstance(part, Settings):
        return _said(part.model_dump(mode="json"))
    if isinstance(part, dict):
        return {name: _said(value) for name, value in part.items() if name not in OF_TRAINING}
    return list(map(_said, part)) if isinstance(part, list | tuple) else part


# The networks, each with the module that has it. ---------------------------------------------------------------------------------------


@counted_once(NetworkSize, "lamflow.lam.model")
def lam_size(spec: EnvironmentSpec, settings: LamSettings) -> NetworkSize:
    """A latent action model in training, per window."""
    from lamflow.runs import counting

    return counting.lam(spec, settings)


@counted_once(NetworkSize, "lamflow.lam.model")
def labelling_size(spec: EnvironmentSpec, settings: LamSettings) -> NetworkSize:
    """The part of a latent action model that labels, per window."""
    from lamflow.runs import counting

    return counting.labelling(spec, settings)


@counted_once(NetworkSize, "lamflow.policies.network")
def policy_size(spec: EnvironmentSpec, settings: PolicySettings, width: int, head: HeadSettings | None) -> NetworkSize:
    """A policy in training, per context of frames. It answers ``width`` numbers, or latents of that width by its head."""
    from lamflow.runs import counting

    return counting.policy(spec, settings, width, head)


@counted_once(NetworkSize, "lamflow.policies.network")
def acting_size(spec: EnvironmentSpec, settings: PolicySettings, width: int, head: HeadSettings | None) -> NetworkSize:
    """The same when it plays, per step."""
    from lamflow.runs import counting

    return counting.acting(spec, settings, width, head)


@counted_once(NetworkSize, "lamflow.policies.inverse_dynamics")
def action_labeller_size(spec: EnvironmentSpec, settings: EncoderSettings, symmetry: Symmetry) -> NetworkSize:
    """VPT's inverse dynamics model, per window."""
    from lamflow.runs import counting

    return counting.action_labeller(spec, settings, symmetry)


@counted_once(NetworkSize, "lamflow.policies.decoders")
def decoder_size(
    spec: EnvironmentSpec, settings: DecoderSettings, width: int, num_tokens: int, num_codes: int
) -> NetworkSize:
    """An action decoder of inputs of a width, per label. ``num_tokens`` is 0 where it decodes latents."""
    from lamflow.runs import counting

    return counting.decoder(spec, settings, width, num_tokens, num_codes)


@counted_once(ActorCriticSize, "lamflow.rl.actor_critic")
def grid_expert_size(spec: EnvironmentSpec, hidden_width: int) -> ActorCriticSize:
    """The expert of an egocentric grid."""
    from lamflow.runs import counting

    return counting.grid_expert(spec, hidden_width)


@counted_once(ActorCriticSize, "lamflow.rl.actor_critic")
def pixel_expert_size(spec: EnvironmentSpec, settings: ImpalaSettings) -> ActorCriticSize:
    """Procgen's expert."""
    from lamflow.runs import counting

    return counting.pixel_expert(spec, settings)


@counted_once(ActorCriticSize, "lamflow.rl.vector_actor_critic")
def vector_expert_size(spec: EnvironmentSpec, hidden_width: int) -> ActorCriticSize:
    """The expert of an environment that shows vectors."""
    from lamflow.runs import counting

    return counting.vector_expert(spec, hidden_width)


@counted_once(ActorCriticSize, "lamflow.methods.online")
def online_policy_size(
    spec: EnvironmentSpec, settings: OnlineMethodSettings, tuned: LatentMethodSettings, width: int, lam: LamSettings
) -> ActorCriticSize:
    """What a method learns with rewards; ``tuned`` is the latent method that it takes further, ``width`` that of its policy's answer."""
    from lamflow.runs import counting

    return counting.online_policy(spec, settings, tuned, width, lam)
