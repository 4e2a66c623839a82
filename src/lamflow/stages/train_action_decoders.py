"""Stop 5: action decoders of a latent method, or the supervised inverse dynamics models of VPT: one a label count and draw."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lamflow.data.label_budgets import LabelCount
from lamflow.envs.spec import EnvironmentSpec
from lamflow.methods.jobs import FitsDecoders, Job
from lamflow.methods.settings import method_settings
from lamflow.policies.members import LabelDraws, save_members
from lamflow.provenance import record_provenance
from lamflow.stages.code import method_code


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
    observation. ValueError where one is missing that the method's settings need. Where the LAM has seen labels, ``labels`` and
    ``label_draws`` are those that hold them.
    """
    started = time.monotonic()
    typed, spec = method_settings(settings), EnvironmentSpec.from_facts(environment)
    needed = typed.needs("decoders")
    if needed is None:
        raise ValueError(f"{output}: method {method!r} of kind {settings['kind']!r} has no decoders")
    given = {"train": train, "latents": latents, "policy": policy}
    inputs = {name: Path(path) for name, path in given.items() if path is not None and name in needed}
    job = Job(method, spec, seed, inputs, labels, label_draws)
    fitter: FitsDecoders = typed.build()
    fitted = fitter.decoders(job)
    if fitted.precision is not None:
        print(f"decoders of {method} on {spec.name}, seed {seed}: precision {fitted.precision}")
    metadata = {"kind": "decoders", "env": spec.name, "method": method, "seed": seed, **fitted.header}
    read = typed.model_dump(mode="json", exclude=set(typed.unread("decoders")))
    metadata |= {"environment": spec.facts(), "method_settings": read}
    save_members(Path(output), job.members, [dict(weights) for weights in fitted.weights], metadata)
    record_provenance(
        Path(output),
        code=method_code(__name__, typed, "decoders"),
        settings={**settings, "labels": list(labels), "label_draws": label_draws},
        inputs=inputs,
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=[fitted.precision],
    )
