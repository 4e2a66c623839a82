"""Methods in latent actions (LAPO, arXiv 2312.10812, and its relatives): a policy of latents or codes, and decoders of few labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lamflow.data.label_budgets import ALL_LABELS
from lamflow.data.latents import LatentStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.lam.learning import load_latent_action_model
from lamflow.lam.model import LatentActionModel
from lamflow.lam.settings import LamSettings
from lamflow.lam.validation import label_rows
from lamflow.methods.acting import check_members, policy_agent
from lamflow.methods.cloning import Cloning, Target
from lamflow.methods.jobs import FittedDecoders, Job, Policies
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.policies.actions import Actions
from lamflow.policies.agents import Agent
from lamflow.policies.dataset import policy_features
from lamflow.policies.decoders import Decode, Decoder, code_one_hot
from lamflow.policies.latent_heads import LatentHead
from lamflow.policies.learning import Examples, code_objective, latent_objective
from lamflow.policies.members import Member, member_seed, read_members, read_policies
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import ActionSelection
from lamflow.provenance import file_digest
from lamflow.training.checkpoint import seed_everything
from lamflow.training.precision import autocast, precision_of

CERTAIN = 1e4
"""The logit of a code that is known; the others have 0, so that the softmax over codes is 1 there and 0 elsewhere in float32."""


class Latent:
    """One policy for all label counts, and a decoder for each of them."""

    def __init__(self, settings: LatentMethodSettings) -> None:
        self.settings = settings

    def decoders(self, job: Job) -> FittedDecoders:
        """From latents, or codes, to true actions; some see the features of the observation too."""
        settings, codes = self.settings, self.settings.target == "codes"
        arrays, labelled = job.labels_of_members()
        latents = LatentStore.open(
            job.file("latents"), env=job.spec.name, lam=settings.lam, seed=job.seed, episodes=job.store("train")
        )
        header: dict[str, Any] = {
            "decoder": settings.decoder.inputs,
            "target": settings.target,
            "num_tokens": latents.num_tokens,
            "num_codes": latents.codebook_size or 0,
            "latents_digest": latents.attributes["digest"],
        }
        features = [torch.zeros(len(rows), 0) for rows in labelled]
        if settings.decoder.sees_observation:
            features = _observed(job, labelled)
            header["policy_sha256"] = file_digest(job.file("policy"))
        decoder = self._decoder(job, latents.num_tokens if codes else 0, header["num_codes"])
        actions, column = torch.from_numpy(arrays.actions), latents.rows("codes" if codes else "latents")
        fitted = [
            decoder.fit(
                torch.from_numpy(column.read_rows(rows.numpy())), beside, actions[rows], member_seed(job.seed, member)
            )
            for member, rows, beside in zip(job.members, labelled, features, strict=True)
        ]
        return FittedDecoders([dict(weights) for weights, _ in fitted], header, fitted[0][1])

    def _decoder(self, job: Job, num_tokens: int, num_codes: int) -> Decoder:
        decoder: Decoder = self.settings.decoder.build(space=job.space, num_tokens=num_tokens, num_codes=num_codes)
        return decoder

    def policies(self, job: Job) -> Policies:
        """One, of the latents or codes of all transitions: of the actions that have a next frame."""
        column = "codes" if self.settings.target == "codes" else "latents"
        train, latents = _examples(job, self.settings, "train", "latents", column)
        validation, _ = _examples(job, self.settings, "validation", "validation_latents", column)
        target = _target(self.settings, latents, train.rows, job.seed)
        member, settings = Member(ALL_LABELS, 0), self.settings.policy
        task = Cloning(job, member, settings, target, lambda: train, validation).task()
        return Policies([task], {"latents_digest": latents.attributes["digest"]})

    def agent(self, job: Job, action_selection: ActionSelection) -> tuple[list[Member], Agent]:
        """Each member decodes what the policy answers."""
        members, decode, networks, _ = self._trained(job)
        selection, observes = self.settings.action_selection or action_selection, self.settings.decoder.sees_observation
        return members, policy_agent(job, networks, members, decode, selection, decodes_features=observes)

    def action_reader(self, job: Job) -> tuple[list[Member], LatentReader]:
        """Each member decodes what the LAM says of a transition."""
        members, decode, networks, header = self._trained(job)
        lam = load_latent_action_model(job.file("lam"), spec=job.spec, lam=self.settings.lam, seed=job.seed)
        num_codes = header["num_codes"] if self.settings.target == "codes" else 0
        observing = networks[0] if self.settings.decoder.sees_observation else None
        return members, LatentReader(lam, job.space, decode, len(members), num_codes, observing)

    def _trained(self, job: Job) -> tuple[list[Member], Decode, list[PolicyNetwork], dict[str, Any]]:
        """The members, their decoders as a function, the policy, and the header of the decoders' file."""
        settings, observes = self.settings, self.settings.decoder.sees_observation
        path, policy = job.file("decoders"), job.file("policy")
        made_for = {"decoder": settings.decoder.inputs, "target": settings.target}
        members, weights, header = read_members(path, env=job.spec.name, method=job.method, seed=job.seed, **made_for)
        _, networks = read_policies(
            policy, job.spec, method=job.method, seed=job.seed, latents_digest=header.get("latents_digest")
        )
        if observes and header.get("policy_sha256") != file_digest(policy):
            raise ValueError(
                f"{path}: decoders that see the features of another policy than {policy}; train them again"
            )
        check_members(job, members, "decoders")
        decoder = self._decoder(job, header["num_tokens"] if settings.target == "codes" else 0, header["num_codes"])
        return members, decoder.decode(weights), networks, header


@dataclass(frozen=True)
class LatentReader:
    """Decoders of ``num_members`` members on the latents of transitions, or, with ``num_codes`` > 0 per codebook, on their codes; with an
    ``observing`` policy, on its features behind them. See ``lamflow.methods.reading.ActionReader``."""

    lam: LatentActionModel
    space: Actions
    decode: Decode
    num_members: int
    num_codes: int
    observing: PolicyNetwork | None

    @property
    def components(self) -> tuple[LamSettings]:
        """The LAM's."""
        return (self.lam.settings,)

    @torch.no_grad()
    def read(self, data: EpisodeTensors, rows: Tensor) -> Tensor:
        """The most likely actions [M, N, ...] at ``rows`` int64 [N]."""
        precision = precision_of(self.lam.settings.training.precision, self.lam.parameters())
        with autocast(precision.name, data.device):
            latents = label_rows(self.lam, data.part(self.lam.window, rows))
        decoded = latents.continuous.float().cpu()
        if self.num_codes:
            decoded = CERTAIN * code_one_hot(latents.codes.cpu(), self.num_codes)
        if self.observing is not None:
            decoded = torch.cat([decoded, policy_features(self.observing, data, rows)], dim=1)
        generator = torch.Generator()
        whose = [torch.full((len(rows),), member) for member in range(self.num_members)]
        return torch.stack([self.space.choose(self.decode(decoded, members), "argmax", generator) for members in whose])


def _observed(job: Job, labelled: Sequence[Tensor]) -> list[Tensor]:
    """The policy's features in the observations of each member's labelled rows, float32 [N, F]."""
    _, (network,) = read_policies(job.file("policy"), job.spec, method=job.method, seed=job.seed)
    data = EpisodeTensors.open(job.store("train"), window_gib=0)
    # Smaller budgets of a draw lie in its larger ones.
    distinct, places = torch.cat(list(labelled)).unique(return_inverse=True)
    features = policy_features(network, data, distinct)
    return [features[part] for part in places.split([len(rows) for rows in labelled])]


def _examples(
    job: Job, settings: LatentMethodSettings, split: str, latents: str, column: str
) -> tuple[Examples, LatentStore]:
    """The transitions of a split with the column of its latents that the policy learns."""
    store = job.store(split)
    store.check_transitions()
    opened = LatentStore.open(job.file(latents), env=store.env, lam=settings.lam, seed=job.seed, episodes=store)
    data = EpisodeTensors.open(
        store,
        window_gib=settings.policy.training.window_gib if split == "train" else 0,
        columns={column: opened.rows(column)},
    )
    if split == "train":
        data = data.of_episodes(job.train_episodes(settings.policy.episodes))
    return Examples(data, data.rows, column), opened


def _target(settings: LatentMethodSettings, latents: LatentStore, rows: Tensor, seed: int) -> Target:
    """What the policy learns of the latents; a head is standardised by those of the ``rows`` that it is trained on."""
    if settings.target == "codes":
        return Target(latents.num_tokens * (latents.codebook_size or 0), code_objective)
    if settings.latent_head is None:
        return Target(latents.latent_dim, latent_objective)
    seed_everything(seed)
    feature_dim = settings.policy.network.hidden_width
    head: LatentHead = settings.latent_head.build(latent_dim=latents.latent_dim, feature_dim=feature_dim)
    head.standardise(*map(torch.from_numpy, latents.moments(rows.cpu().numpy())))
    return Target(head.num_outputs, head.loss, head)
