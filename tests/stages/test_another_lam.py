"""A kind of latent action model that lamflow does not know: the stages train it and label with it by its settings alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.data.windows import FRAMES, Window, WindowSpec
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.model import LatentActionModel
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.lam.settings import LAMS, LamSettings, lam_settings
from lamflow.quantizers.none_settings import NoneSettings
from lamflow.stages.relabel_episodes import relabel_episodes
from lamflow.training.loop import Loss

ENV = "xland-empty-random-8x8-full"


class SegmentSettings(LamSettings):
    """Of a model that sees three frames before the present one."""

    builds: ClassVar[str] = "test_another_lam:SegmentLam"
    kind: Literal["segment"] = "segment"


class SegmentLam(LatentActionModel):
    """Linear maps of five frames to a latent, and of it and the present frame to the next one."""

    window = WindowSpec(before=3, after=1)

    def __init__(self, *, settings: SegmentSettings, spec: EnvironmentSpec) -> None:
        super().__init__()
        self.settings, self.spec = settings, spec
        size, latent_dim = int(np.prod(spec.frame_shape)), settings.quantizer.latent_dim
        self.quantizer = settings.quantizer.build()
        self.inverse = nn.Linear(5 * size, latent_dim)
        self.forward_dynamics = nn.Linear(size + latent_dim, size)

    def loss(self, window: Window) -> Loss:
        return Loss(self.prediction_loss(window, self.encode(window)).mean())

    def encode(self, window: Window) -> Tensor:
        latents: Tensor = self.inverse(window.frames.flatten(1).float())
        return latents

    def prediction_loss(self, window: Window, latents_BD: Tensor) -> Tensor:
        following = window.at(FRAMES, 1).flatten(1).float()
        return functional.mse_loss(self._next(window, latents_BD), following, reduction="none").sum(1)

    def predict(self, window: Window, latents_BD: Tensor) -> Tensor:
        predicted = self._next(window, latents_BD).clamp(0, 11).round()
        return predicted.to(torch.uint8).unflatten(1, self.spec.frame_shape)

    def _next(self, window: Window, latents_BD: Tensor) -> Tensor:
        predicted: Tensor = self.forward_dynamics(torch.cat([window.at(FRAMES).flatten(1).float(), latents_BD], dim=1))
        return predicted


@pytest.fixture
def segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind is known."""
    monkeypatch.setitem(LAMS.choices(), "segment", SegmentSettings)  # type: ignore[arg-type]


def test_what_does_not_say_its_kind_is_of_single_transitions(segment: None) -> None:
    assert lam_settings({}) == OneStepSettings()
    assert lam_settings({"idm_horizon": 3, "quantizer": {"kind": "none"}}).kind == "one_step"
    assert isinstance(lam_settings({"kind": "segment"}), SegmentSettings)
    with pytest.raises(ValidationError, match="idm_horizon"):
        lam_settings({"kind": "segment", "idm_horizon": 3})
    with pytest.raises(ValidationError, match="'one_step', 'segment'"):
        lam_settings({"kind": "nothing"})


@pytest.mark.slow
def test_another_kind_is_trained_validated_and_labels(
    segment: None, world: Any, quick_probes: None, tmp_path: Path
) -> None:
    training = {"steps": 5, "batch_size": 16, "precision": "float32"}
    settings = {"kind": "segment", "quantizer": NoneSettings(code_dim=4).model_dump(), "training": training}
    model = world.train_lam("lapo", tmp_path, settings=settings)
    assert "validation,fdm/loss," in (tmp_path / "metrics.csv").read_text()
    output = tmp_path / "latents.zarr"
    relabel_episodes(
        environment=preset(ENV).facts(), lam="lapo", seed=0, model=model, episodes=world.episodes(), output=output
    )
    store = EpisodeStore.open(world.episodes())
    found = LatentStore.open(output, env=ENV, lam="lapo", seed=0, episodes=store).load()
    assert found.codes is None and np.abs(found.latents[found.valid]).sum(1).min() > 0
