"""Stop 5: action decoders of a latent method, or the supervised inverse dynamics models of VPT: one a label count and draw."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lamflow.data.label_budgets import LabelCount
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeArrays, EpisodeStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.spec import EnvironmentSpec
from lamflow.methods.settings import method_settings
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.dataset import policy_features
from lamflow.policies.decoders import Decoder
from lamflow.policies.inverse_dynamics import fit_action_labeller
from lamflow.policies.members import (
    LabelDraws,
    label_members,
    labelled_rows,
    member_seed,
    read_policies,
    save_members,
)
from lamflow.policies.method_settings import LatentMethodSettings, VptMethodSettings
from lamflow.provenance import file_digest, record_provenance
from lamflow.stages.code import stage_code
from lamflow.training.precision import Precision, precision_of


def train_action_decoders(
    *,
    environment: Mapping[str, Any],
    method: str,
    settings: Mapping[str, Any],
    labels: Sequence[LabelCount],
    label_draws: LabelDraws,
    seed: int,
    train: Path | str,
    latents: Path | str | None,
    output: Path | str,
    policy: Path | str | None = None,
) -> None:
    """Train one decoder for each label count and draw on the labelled transitions of ``train``; all go to one file.

    ``latents``: the latent store of the split (latent methods); ``policy``: the method's trained policy, where its decoders see the
    observation. Where the LAM has seen labels, ``labels`` and ``label_draws`` are those that hold them.
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    env = spec.name
    typed: Any = method_settings(settings)
    store = EpisodeStore.open(train, env=env)
    store.check_transitions()
    arrays = store.load(frames=False)
    members = label_members(labels, label_draws)
    rows = [labelled_rows(arrays, member, seed, store.path) for member in members]
    seeds = [member_seed(seed, member) for member in members]
    metadata: dict[str, Any] = {"kind": "decoders", "env": env, "method": method, "seed": seed}
    inputs = {"train": Path(train)}
    if isinstance(typed, LatentMethodSettings):
        if latents is None:
            raise ValueError(
                f"{output}: decoders of method {method!r} need the latents of the train split; none were given"
            )
        if typed.decoder.sees_observation and policy is None:
            raise ValueError(
                f"{output}: decoders of method {method!r} see the features of its policy; no policy file was given"
            )
        latent_store = LatentStore.open(latents, env=env, lam=typed.lam, seed=seed, episodes=store)
        metadata |= {"decoder": typed.decoder.inputs, "target": typed.target}
        metadata |= {"num_tokens": latent_store.num_tokens, "num_codes": latent_store.codebook_size or 0}
        metadata["latents_digest"] = latent_store.attributes["digest"]
        inputs["latents"] = Path(latents)
        features = [torch.zeros(len(part), 0) for part in rows]
        if typed.decoder.sees_observation and policy is not None:
            inputs["policy"] = Path(policy)
            features = _observed(store, spec, Path(policy), method, seed, rows)
            metadata["policy_sha256"] = file_digest(Path(policy))
        weights, precision = _latent_decoders(typed, spec, arrays, latent_store, rows, features, seeds)
    elif isinstance(typed, VptMethodSettings):
        data = EpisodeTensors.open(store, window_gib=typed.decoder.training.window_gib)
        labellers = [
            fit_action_labeller(
                settings=typed.inverse_dynamics,
                symmetry=typed.symmetry,
                training=typed.decoder.training,
                spec=spec,
                data=data,
                rows=part,
                seed=member,
            )
            for part, member in zip(rows, seeds, strict=True)
        ]
        weights = [labeller.state_dict() for labeller in labellers]
        precision = precision_of(typed.decoder.training.precision, labellers[0].parameters())
        metadata["symmetry"] = typed.symmetry
        metadata["network"] = typed.inverse_dynamics.model_dump(mode="json")
    else:
        raise ValueError(f"method {method!r} of kind {typed.kind!r} has no decoders")
    if precision is not None:
        print(f"decoders of {method} on {env}, seed {seed}: precision {precision}")
    save_members(Path(output), members, weights, metadata)
    record_provenance(
        Path(output),
        code=stage_code(__name__, settings=typed),
        settings={**settings, "labels": list(labels), "label_draws": label_draws},
        inputs=inputs,
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=[precision],
    )


def _observed(
    store: EpisodeStore, spec: EnvironmentSpec, policy: Path, method: str, seed: int, rows: Sequence[Tensor]
) -> list[Tensor]:
    """The policy's features in the observations of each member's labelled rows, float32 [N, F]."""
    _, (network,) = read_policies(policy, spec, method=method, seed=seed)
    data = EpisodeTensors.open(store, window_gib=0, context=network.settings.context)
    # Smaller budgets of a draw lie in its larger ones.
    distinct, places = torch.cat(list(rows)).unique(return_inverse=True)
    features = policy_features(network, data, distinct)
    return [features[part] for part in places.split([len(part) for part in rows])]


def _latent_decoders(
    settings: LatentMethodSettings,
    spec: EnvironmentSpec,
    arrays: EpisodeArrays,
    latents: LatentStore,
    rows: Sequence[Tensor],
    features: Sequence[Tensor],
    seeds: Sequence[int],
) -> tuple[list[dict[str, Tensor]], Precision | None]:
    """The weights of each member's decoder, and the precision that they were trained in; a table needs none."""
    actions, codes = torch.from_numpy(arrays.actions), settings.target == "codes"
    column = latents.rows("codes" if codes else "latents")
    decoder: Decoder = settings.decoder.build(
        space=DiscreteActions.of(spec),
        num_tokens=latents.num_tokens if codes else 0,
        num_codes=latents.codebook_size or 0,
    )
    fitted = [
        decoder.fit(torch.from_numpy(column.read_rows(part.numpy())), beside, actions[part], member)
        for part, beside, member in zip(rows, features, seeds, strict=True)
    ]
    return [dict(weights) for weights, _ in fitted], fitted[0][1]
