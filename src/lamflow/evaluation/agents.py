"""Agents as rollouts need them, put together from the files of their policy and decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lamflow.data.label_budgets import NO_LABELS
from lamflow.envs.spec import EnvironmentSpec
from lamflow.methods.settings import method_settings
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.agents import ActingNetwork, PolicyAgent, RandomAgent
from lamflow.policies.decoders import Decoder, no_decode
from lamflow.policies.members import Member, read_members, read_policies
from lamflow.policies.method_settings import LatentMethodSettings
from lamflow.provenance import file_digest
from lamflow.rl.online_files import MEMBER, read_online_policy
from lamflow.training.precision import default_device


def load_agent(
    *,
    spec: EnvironmentSpec,
    method: str,
    settings: Mapping[str, Any],
    label_budgets: Sequence[Member],
    policy: Path | None,
    decoders: Path | None,
    action_selection: Literal["argmax", "sample"],
    seed: int,
) -> tuple[list[Member], PolicyAgent | RandomAgent]:
    """A method's agent and its members, from the files of its policy and decoders; ValueError when they do not belong together.

    ``action_selection`` is for methods that do not say it themselves.
    """
    typed: Any = method_settings(settings)
    space = DiscreteActions.of(spec)
    if typed.kind == "random":
        return [Member(NO_LABELS, 0)], RandomAgent(space, seed=seed)
    if policy is None:
        raise ValueError(f"method {method!r} acts by a policy; no policy file was given")
    members: list[Member]
    networks: Sequence[ActingNetwork]
    made_for: dict[str, Any] = {}
    if isinstance(typed, LatentMethodSettings):
        if decoders is None:
            raise ValueError(f"method {method!r} acts in latents; no decoders file was given")
        made_for = {"decoder": typed.decoder.inputs, "target": typed.target}
        budgets, weights, metadata = read_members(decoders, env=spec.name, method=method, seed=seed, **made_for)
    if typed.kind == "online":
        members = [MEMBER]
        networks = [read_online_policy(policy, spec=spec, method=method, seed=seed).to(default_device())]
    else:
        of_latents = {"latents_digest": metadata.get("latents_digest")} if made_for else {}
        members, networks = read_policies(policy, spec, method=method, seed=seed, **of_latents)
    decode = no_decode(space)
    observes = False
    if isinstance(typed, LatentMethodSettings):
        members, observes = budgets, typed.decoder.sees_observation
        if observes and metadata.get("policy_sha256") != file_digest(policy):
            raise ValueError(
                f"{decoders}: decoders that see the features of another policy than {policy}; train them again"
            )
        num_tokens = metadata["num_tokens"] if typed.target == "codes" else 0
        decoder: Decoder = typed.decoder.build(space=space, num_tokens=num_tokens, num_codes=metadata["num_codes"])
        decode = decoder.decode(weights)
    if typed.kind not in ("oracle_bc", "online") and list(members) != list(label_budgets):
        raise ValueError(
            f"{decoders or policy}: holds other label counts or draws than the configuration; train it again"
        )
    agent = PolicyAgent(
        networks=networks,
        num_members=len(members),
        space=space,
        decode=decode,
        action_selection=typed.action_selection or action_selection,
        seed=seed,
        decodes_features=observes,
    )
    return members, agent
