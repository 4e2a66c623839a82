"""Where the artefacts lie that methods need, and which of them a job of a method gets."""

from __future__ import annotations

from collections.abc import Mapping

from lamflow.experiment.experiment import Experiment
from lamflow.methods.settings import Stage

ARTEFACTS: Mapping[str, str] = {
    "train": "data/{env}/train.zarr",
    "validation": "data/{env}/validation.zarr",
    "episodes": "data/{env}/test.zarr",
    "latents": "latents/{env}/{lam}/seed{seed}/train.zarr",
    "validation_latents": "latents/{env}/{lam}/seed{seed}/validation.zarr",
    "decoders": "decoders/{env}/{method}/seed{seed}/decoders.safetensors",
    "policy": "policies/{env}/{method}/seed{seed}/policy.safetensors",
    "online_agent": "online/{env}/{method}/seed{seed}/agent.safetensors",
    "lam": "lam/{env}/{lam}/seed{seed}/model.safetensors",
    "tuned_policy": "policies/{env}/{tuned}/seed{seed}/policy.safetensors",
    "tuned_lam": "lam/{env}/{tuned_lam}/seed{seed}/model.safetensors",
}
"""By name, under the results of an experiment. ``lam`` is that of the method, ``tuned`` the method whose policy it takes further,
``tuned_lam`` that one's LAM."""


def artefacts_of(experiment: Experiment, stage: Stage, *, env: str, method: str, seed: int | str) -> dict[str, str]:
    """The paths of what a stage of a method needs, by artefact; ValueError when it has no such stage, or needs what there is not."""
    settings = experiment.methods[method]
    needed = settings.needed(stage)
    if needed is None:
        raise ValueError(f"methods.{method}: has no stage {stage!r}")
    if unknown := [name for name in needed if name not in ARTEFACTS]:
        raise ValueError(
            f"methods.{method}: needs {unknown[0]!r} in its stage {stage!r}; known: {', '.join(ARTEFACTS)}"
        )
    tuned = settings.tuned_name
    names = {"env": env, "method": method, "seed": seed, "lam": settings.lam_name, "tuned": tuned}
    names["tuned_lam"] = experiment.methods[tuned].lam_name if tuned else None
    return {name: f"results/{experiment.experiment}/{ARTEFACTS[name].format(**names)}" for name in needed}
