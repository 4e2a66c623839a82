"""Agents of online decoding, kept in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lamflow.data.label_budgets import ONLINE_LABELS
from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.members import Member, build_policy, policy_header
from lamflow.policies.settings import PolicySettings
from lamflow.rl.online_policies import FinetunedPolicy, OnlinePolicy, ScratchPolicy
from lamflow.training.checkpoint import load_weights, read_model, save_model

MEMBER = Member(ONLINE_LABELS, 0)


def save_online_policy(path: Path, policy: OnlinePolicy, metadata: dict[str, Any]) -> None:
    """Write an agent; what is needed to put it together again travels with it."""
    described: dict[str, Any] = {"kind": "online", "settings": policy.settings.model_dump(mode="json"), **metadata}
    if isinstance(policy, FinetunedPolicy):
        described["latent_policy"] = policy_header(policy.latent_policy)
        decoder = policy.decoder
        widths = None if decoder is None else [layer.out_features for layer in decoder if isinstance(layer, nn.Linear)]
        described["decoder_widths"] = widths and widths[:-1]
        described |= {"num_tokens": policy.num_tokens, "num_codes": policy.num_codes}
    save_model(path, policy.state_dict(), described)


def read_online_policy(path: Path, *, spec: EnvironmentSpec, method: str, seed: int) -> OnlinePolicy:
    """The agent of a file, on the CPU, its own noise seeded; ValueError when the file is missing, damaged, of another environment,
    method or seed, or no such agent's."""
    tensors, metadata = read_model(path)
    for key, expected in (("kind", "online"), ("env", spec.name), ("method", method), ("seed", seed)):
        if metadata.get(key) != expected:
            raise ValueError(
                f"{path}: found {key} {metadata.get(key)!r}, expected {expected!r}: give the agent file of that {key}"
            )
    policy: OnlinePolicy
    if "latent_policy" not in metadata:
        policy = ScratchPolicy(settings=PolicySettings.model_validate(metadata["settings"]), spec=spec)
    else:
        policy = FinetunedPolicy(
            build_policy(metadata["latent_policy"], spec),
            spec=spec,
            num_tokens=metadata["num_tokens"],
            num_codes=metadata["num_codes"],
            decoder_widths=metadata["decoder_widths"],
        )
        policy.generator = torch.Generator().manual_seed(seed)
    load_weights(policy, tensors, path)
    return policy.eval()
