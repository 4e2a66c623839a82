"""What a configuration may say of policies, and what people read when it says something else."""

from __future__ import annotations

from typing import Any

import pytest

from lamflow.experiment.experiment import Experiment
from lamflow.experiment.reading import load_experiment
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.policies.flow_settings import FlowSettings
from lamflow.policies.mixture_settings import MixtureSettings
from lamflow.policies.settings import PolicySettings

FULL, EGOCENTRIC = "xland-doorkey-5x5-full", "xland-doorkey-5x5"
ROTATED = {"symmetry": "rotation"}


def load(methods: dict[str, Any], **changes: Any) -> Experiment:
    raw = {
        "experiment": "test",
        "envs": [FULL, EGOCENTRIC],
        "seeds": [0],
        "lams": {"plain": {}, "turned": ROTATED},
        "methods": methods,
    }
    return load_experiment(raw | changes, source="my.yaml")


def test_a_recurrent_policy_needs_a_history_to_be_trained_on() -> None:
    with pytest.raises(ValueError, match=r"policy\.recurrent: true needs a context above 1.*found context: 1"):
        PolicySettings(recurrent=True)
    assert PolicySettings(recurrent=True, context=2).recurrent


def test_the_method_of_a_recurrent_policy_without_history_is_named() -> None:
    with pytest.raises(ValueError, match=r"methods\.bc\.policy: policy\.recurrent: true needs a context above 1"):
        load({"bc": {"kind": "bc", "policy": {"recurrent": True}}})


@pytest.mark.parametrize(
    ("methods", "key"),
    [
        ({"bc": {"kind": "bc", "policy": ROTATED}}, r"methods\.bc\.policy\.symmetry"),
        ({"oracle": {"kind": "oracle_bc", "policy": ROTATED}}, r"methods\.oracle\.policy\.symmetry"),
        ({"vpt": {"kind": "vpt"} | ROTATED}, r"methods\.vpt\.symmetry"),
        ({"vpt": {"kind": "vpt", "policy": ROTATED}}, r"methods\.vpt\.policy\.symmetry"),
        ({"lapo": {"kind": "latent", "lam": "plain", "policy": ROTATED}}, r"methods\.lapo\.policy\.symmetry"),
        ({"lapo": {"kind": "latent", "lam": "turned"}}, r"lams\.turned\.symmetry"),
    ],
)
def test_rotations_need_a_full_view_unless_the_method_runs_on_full_views_only(
    methods: dict[str, Any], key: str
) -> None:
    with pytest.raises(ValueError, match=rf"{key}: rotation needs a full view, and {EGOCENTRIC} has an egocentric one"):
        load(methods)
    assert load(methods | {"random": {"kind": "random"}}, only={name: [FULL] for name in methods})


LATENT = {"kind": "latent", "lam": "plain"}
REFUSED = [
    (LATENT | {"mixture": {"components": 3}}, "mixture: counts with target: mixture alone; found target: latent"),
    (
        LATENT | {"target": "mixture", "flow": {"samples": 2}},
        "flow: counts with target: flow alone; found target: mixture",
    ),
    (LATENT | {"target": "flow", "flow": {"integration_steps": 0}}, r"flow\.integration_steps: .*greater than 0"),
    (LATENT | {"target": "flow", "flow": {"hidden_widths": []}}, r"flow\.hidden_widths: .*at least 1"),
    (
        LATENT | {"target": "mixture", "decoder": {"kind": "dictionary"}},
        "a dictionary decodes codes; set target: codes",
    ),
    (
        LATENT | {"target": "codes", "decoder": {"kind": "dictionary", "observation": True}},
        r"decoder\.observation: true needs kind: mlp.*found kind: dictionary",
    ),
    ({"kind": "vpt", "decoder": {"observation": True}}, r"decoder\.observation: true is for decoders of latents"),
    (LATENT | {"action_selection": "greedy"}, "action_selection: .*'argmax' or 'sample'"),
    ({"kind": "random", "action_selection": "argmax"}, "action_selection: unknown key"),
]


@pytest.mark.parametrize(("method", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_settings_that_do_not_go_together_are_refused(method: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load({"method": method})


def test_the_head_of_a_latent_policy_is_that_of_its_target() -> None:
    targets = ("latent", "codes", "mixture", "flow")
    methods = [LatentMethodSettings.model_validate(LATENT | {"target": target}) for target in targets]
    assert [method.latent_head for method in methods] == [None, None, MixtureSettings(), FlowSettings()]
    dumped = load({"flow": LATENT | {"target": "flow", "flow": {"samples": 2}}}).methods["flow"].model_dump(mode="json")
    assert LatentMethodSettings.model_validate(dumped).latent_head == FlowSettings(samples=2)


def test_a_rotated_lam_that_no_method_uses_does_no_harm() -> None:
    assert load({"random": {"kind": "random"}, "lapo": {"kind": "latent", "lam": "plain"}})
