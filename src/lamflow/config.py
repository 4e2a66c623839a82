"""The typed configuration: one pydantic model is the source of the YAML's validation, the JSON schema and the docs table.

The settings groups stand in the ``config_*`` modules beside this one, from which they are imported here for everybody.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from lamflow.catalogue import environment_spec
from lamflow.config_base import LARGEST_BATCH, LONGEST_NAME, MOST, Name, Settings
from lamflow.config_demonstrators import CollectionSettings, ExpertSettings, PixelExpertSettings
from lamflow.config_errors import explain, settings_from, short_repr
from lamflow.config_methods import (
    ActionSelection,
    BcMethodSettings,
    DecoderSettings,
    FlowSettings,
    LamSettings,
    LatentMethodSettings,
    MethodSettings,
    MixtureSettings,
    OracleMethodSettings,
    PolicySettings,
    RandomMethodSettings,
    SupervisionSettings,
    VptMethodSettings,
)
from lamflow.config_networks import (
    DynamicsSettings,
    EncoderSettings,
    ImpalaSettings,
    NetworkSettings,
    QuantizerSettings,
    Symmetry,
    UnetSettings,
)
from lamflow.config_online import (
    DelayedRateSettings,
    OnlineDecoderSettings,
    OnlineMethodSettings,
    OnlinePpoSettings,
)
from lamflow.config_ppo import PpoSettings
from lamflow.config_training import LoggingSettings, TrainingSettings
from lamflow.config_yaml import read_yaml

__all__ = [
    "ActionSelection",
    "BcMethodSettings",
    "CollectionSettings",
    "DecoderSettings",
    "DelayedRateSettings",
    "DynamicsSettings",
    "EncoderSettings",
    "EvaluationSettings",
    "Experiment",
    "ExpertSettings",
    "FlowSettings",
    "ImpalaSettings",
    "LabelCount",
    "LamSettings",
    "LatentMethodSettings",
    "LoggingSettings",
    "MethodSettings",
    "MixtureSettings",
    "Name",
    "NetworkSettings",
    "OnlineDecoderSettings",
    "OnlineMethodSettings",
    "OnlinePpoSettings",
    "OracleMethodSettings",
    "PixelExpertSettings",
    "PolicySettings",
    "PpoSettings",
    "QuantizerSettings",
    "RandomMethodSettings",
    "Settings",
    "SupervisionSettings",
    "Symmetry",
    "TrainingSettings",
    "TrialSettings",
    "UnetSettings",
    "VptMethodSettings",
    "cut_to_trial",
    "load_experiment",
    "parse_label_count",
    "read_experiment",
]

T = TypeVar("T")


class EvaluationSettings(Settings):
    """Rollouts of the agents on test levels."""

    episodes: int = Field(100, gt=0, le=MOST, description="Episodes an agent (label count and draw).")
    action_selection: ActionSelection = Field(
        "sample", description="How an action is taken from its distribution, by methods that do not say it themselves."
    )
    bootstrap_samples: int = Field(
        2000, gt=0, le=1_000_000, description="Resamples of the stratified bootstrap intervals."
    )


class TrialSettings(Settings):
    """A trial run of an experiment at its full network sizes: nothing that it trains is of use, but every stage has run.

    Its results lie in `results/<experiment>-trial/`: those of the experiment itself are not touched.
    For example `snakemake all --configfile config/paper.yaml --config "envs=[procgen-chaser]" "seeds=[0]" "trial={steps: 50}"`.
    Label budgets that the few episodes may not hold are left out, there is one label draw, and episodes come from the
    simulator.
    """

    steps: int = Field(50, gt=0, description="Optimiser steps of every training, at most.")
    batch_size: int = Field(8, gt=0, le=LARGEST_BATCH, description="Batch size of every training, at most.")
    episodes: int = Field(4, gt=0, le=MOST, description="Episodes a split and of every evaluation, at most.")
    labels: int = Field(64, gt=0, le=MOST, description="Largest label budget, in transitions.")


LARGEST_SEED = 2**32 - 1
"""NumPy's generators take no larger one; two seeds that are equal in 32 bits would give equal repetitions."""
LabelCount = int | str
_LABELS = re.compile(r"([0-9]{1,9})( trajectories)?")


def parse_label_count(labels: LabelCount) -> tuple[int, Literal["transitions", "trajectories"]]:
    """``64`` -> (64, 'transitions'); ``'500 trajectories'`` -> (500, 'trajectories'); ValueError otherwise."""
    if isinstance(labels, int) and 0 < labels <= MOST:
        return labels, "transitions"
    if isinstance(labels, str) and (match := _LABELS.fullmatch(labels)) and int(match[1]) > 0:
        return int(match[1]), "trajectories" if match[2] else "transitions"
    raise ValueError(
        f"label count {short_repr(labels)}: expected a positive integer or '<n> trajectories', below {MOST:,}"
    )


class Experiment(Settings):
    """A whole experiment: environments x seeds x methods."""

    experiment: Name = Field(description="Name of the experiment; results go to results/<experiment>/.")
    envs: tuple[str, ...] = Field(min_length=1, description="Environments by name; see docs/environments.md.")
    seeds: tuple[int, ...] = Field(
        min_length=1, description="Seeds of the learners; every seed is a full repetition from the LAM on."
    )
    labels: tuple[LabelCount, ...] = Field(
        (16, 64, 256, 1024), min_length=1, description="Label budgets: transitions, or '<n> trajectories'."
    )
    label_draws: int = Field(3, gt=0, le=100, description="Random draws of the labels for each budget and seed.")
    expert: ExpertSettings = Field(default_factory=ExpertSettings, description="PPO experts of XLand environments.")
    pixel_expert: PixelExpertSettings = Field(
        default_factory=PixelExpertSettings, description="PPO experts of Procgen games."
    )
    collection: CollectionSettings = Field(default_factory=CollectionSettings, description="Episode collection.")
    lams: dict[Name, LamSettings] = Field(default_factory=dict, description="Latent action models by name.")
    methods: dict[Name, MethodSettings] = Field(min_length=1, description="Methods by name.")
    only: dict[Name, tuple[str, ...]] = Field(
        default_factory=dict, description="Restricts methods, by name, to some of the environments; others run on all."
    )
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings, description="Evaluation.")
    logging: LoggingSettings = Field(default_factory=LoggingSettings, description="Logging.")
    trial: TrialSettings | None = Field(
        None, description="Cuts the whole experiment down to a trial run of every stage; see docs/configuration.md."
    )

    @field_validator("envs")
    @classmethod
    def _known_environments(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            environment_spec(name)
        _unique(names, "environment")
        return names

    @field_validator("seeds", mode="before")
    @classmethod
    def _integer_seeds(cls, seeds: Any) -> Any:
        if isinstance(seeds, (list, tuple)):
            for seed in seeds:
                text = str(seed) if isinstance(seed, int | str) and not isinstance(seed, bool) else ""
                if not re.fullmatch(r"[0-9]+", text):
                    raise ValueError(f"seed {short_repr(seed)} is no non-negative integer")
                if len(text) > 10 or int(text) > LARGEST_SEED:
                    raise ValueError(
                        f"seed {short_repr(seed)} is above {LARGEST_SEED}, the largest that all generators take"
                    )
            _unique([int(seed) for seed in seeds], "seed")
        return seeds

    @field_validator("labels")
    @classmethod
    def _label_counts(cls, labels: tuple[LabelCount, ...]) -> tuple[LabelCount, ...]:
        parsed = [parse_label_count(label) for label in labels]
        counts = tuple(count if kind == "transitions" else f"{count} trajectories" for count, kind in parsed)
        _unique(counts, "label count")
        return counts

    @model_validator(mode="after")
    def _references(self) -> Experiment:
        for name, method in self.methods.items():
            if isinstance(method, LatentMethodSettings):
                if method.lam not in self.lams:
                    raise ValueError(
                        f"methods.{name}.lam: unknown LAM {method.lam!r}; known: {', '.join(self.lams) or 'none'}"
                    )
                quantizer = self.lams[method.lam].quantizer
                if (method.target == "codes" or method.decoder.kind == "dictionary") and quantizer.kind == "none":
                    raise ValueError(f"methods.{name}: codes need a quantiser, and LAM {method.lam!r} has none")
                if method.decoder.kind == "dictionary" and method.target != "codes":
                    raise ValueError(f"methods.{name}: a dictionary decodes codes; set target: codes")
                if (
                    method.target == "codes"
                    and quantizer.codebooks * quantizer.tokens > 1
                    and method.decoder.kind == "dictionary"
                ):
                    raise ValueError(
                        f"methods.{name}: a dictionary needs a LAM with one codebook of one token; {method.lam!r} has "
                        f"{quantizer.codebooks} x {quantizer.tokens}"
                    )
            elif isinstance(method, OnlineMethodSettings):
                self._check_online(name, method)
        for name, envs in self.only.items():
            if name not in self.methods:
                raise ValueError(f"only.{name}: unknown method; known: {', '.join(self.methods)}")
            for env in envs:
                if env not in self.envs:
                    raise ValueError(f"only.{name}: environment {env!r} is not among envs")
        for env in self.envs:
            if not self.methods_of(env):
                raise ValueError(f"only: no method is left for {env}; take it out of envs or name it under a method")
            for key in self._rotated_on(env):
                if environment_spec(env).view != "full":
                    raise ValueError(f"{key}: rotation needs a full view, and {env} has an egocentric one")
        return self

    def _check_online(self, name: str, method: OnlineMethodSettings) -> None:
        """ValueError unless an online method fine-tunes a latent one that runs wherever it does."""
        tuned = self.methods.get(method.of)
        if not isinstance(tuned, LatentMethodSettings):
            latent = [other for other, settings in self.methods.items() if settings.kind == "latent"]
            raise ValueError(
                f"methods.{name}.of: found {method.of!r}, expected a method of kind latent; known: {', '.join(latent) or 'none'}"
            )
        if tuned.policy.recurrent:
            raise ValueError(
                f"methods.{name}.of: {method.of!r} has a recurrent policy, which online decoding cannot take; give it a context of "
                "several frames instead"
            )
        if method.variant != "scratch" and self.lams[tuned.lam].supervision is not None:
            raise ValueError(
                f"methods.{name}.of: the LAM of {method.of!r}, {tuned.lam!r}, has seen action labels (supervision), and online decoding "
                "has none; give it a latent method whose LAM is unsupervised"
            )
        if method.variant == "rl_sl" and tuned.decoder.observation:
            raise ValueError(
                f"methods.{name}.of: {method.of!r} has decoder.observation: true, and the decoder of online decoding sees the latent "
                "alone; give it a latent method with observation: false"
            )
        for env in self.envs:
            if name in self.methods_of(env) and method.of not in self.methods_of(env):
                raise ValueError(
                    f"methods.{name}: runs on {env}, where its latent method {method.of!r} does not; see `only`"
                )

    def _rotated_on(self, env: str) -> list[str]:
        """Keys of the symmetries that are set to rotation and used on ``env``."""
        symmetries = {f"lams.{lam}.symmetry": self.lams[lam].symmetry for lam in self.lams_of(env)}
        for name in self.methods_of(env):
            method = self.methods[name]
            if isinstance(method, VptMethodSettings):
                symmetries[f"methods.{name}.symmetry"] = method.symmetry
            if not isinstance(method, RandomMethodSettings | OnlineMethodSettings):
                symmetries[f"methods.{name}.policy.symmetry"] = method.policy.symmetry
        return [key for key, symmetry in symmetries.items() if symmetry == "rotation"]

    @model_validator(mode="after")
    def _networks_see_the_frames(self) -> Experiment:
        for env in self.envs:
            pixels = environment_spec(env).view == "pixels"
            for key, kind in self._networks_on(env).items():
                if (kind == "grid") == pixels:
                    wanted = "impala (or unet for a forward model)" if pixels else "grid"
                    raise ValueError(f"{key}.kind: found {kind}, and the frames of {env} need {wanted}")
        return self

    def _networks_on(self, env: str) -> dict[str, str]:
        """Kinds of the networks used on ``env`` by key."""
        kinds: dict[str, str] = {}
        for name in self.lams_of(env):
            kinds[f"lams.{name}.inverse_dynamics"] = self.lams[name].inverse_dynamics.kind
            kinds[f"lams.{name}.forward_dynamics"] = self.lams[name].forward_dynamics.kind
        for name in self.methods_of(env):
            method = self.methods[name]
            if isinstance(method, VptMethodSettings):
                kinds[f"methods.{name}.inverse_dynamics"] = method.inverse_dynamics.kind
            if not isinstance(method, RandomMethodSettings | OnlineMethodSettings):
                kinds[f"methods.{name}.policy.network"] = method.policy.network.kind
        return kinds

    @model_validator(mode="after")
    def _labels_within_data(self) -> Experiment:
        """What is sure to be too many; the stages count the labels that the episodes really hold."""
        episodes = self.collection.train_episodes
        for labels in self.labels:
            count, kind = parse_label_count(labels)
            for env in self.envs:
                most = episodes if kind == "trajectories" else episodes * environment_spec(env).max_steps
                if count > most:
                    raise ValueError(
                        f"labels: {labels} exceeds the train split of {env}: {episodes} episodes, at most {most} {kind}"
                    )
        return self

    @model_validator(mode="after")
    def _supervision_within_labels(self) -> Experiment:
        for name, lam in self.lams.items():
            if lam.supervision is None:
                continue
            key = f"lams.{name}.supervision"
            if not _holding(self.labels, lam.supervision):
                raise ValueError(
                    f"{key}.labels: {lam.supervision.labels} exceeds every label budget in transitions, so that no comparison would be "
                    f"fair; found labels: {list(self.labels)}"
                )
            if lam.supervision.label_draw >= self.label_draws:
                raise ValueError(
                    f"{key}.label_draw: {lam.supervision.label_draw} is none of the {self.label_draws} draws, which count from 0; "
                    "see label_draws"
                )
        return self

    def labels_of(self, method: str) -> list[LabelCount]:
        """The label budgets of ``method``'s agents: those that hold the labels that its LAM has seen. The oracle has all labels,
        random none, and what learns online its own actions, so no budget counts for them."""
        settings = self.methods[method]
        if isinstance(settings, OracleMethodSettings | RandomMethodSettings | OnlineMethodSettings):
            return []
        supervision = self._supervision_of(settings)
        return list(self.labels if supervision is None else _holding(self.labels, supervision))

    def label_draws_of(self, method: str) -> int | list[int]:
        """How many label draws ``method`` has, or a list of the only one: that of which its LAM has seen labels."""
        settings = self.methods[method]
        supervision = self._supervision_of(settings)
        if supervision is not None:
            return [supervision.label_draw]
        if isinstance(settings, VptMethodSettings) and settings.label_draws is not None:
            return min(settings.label_draws, self.label_draws)
        return self.label_draws if self.labels_of(method) else 1

    def num_agents(self, method: str) -> int:
        """Agents of ``method`` on one environment and seed: one a label count and draw where labels are few."""
        draws = self.label_draws_of(method)
        return max(1, len(self.labels_of(method))) * (draws if isinstance(draws, int) else len(draws))

    def _supervision_of(self, method: MethodSettings) -> SupervisionSettings | None:
        return self.lams[method.lam].supervision if isinstance(method, LatentMethodSettings) else None

    def methods_of(self, env: str) -> tuple[str, ...]:
        """Names of the methods that run on ``env``."""
        return tuple(name for name in self.methods if name not in self.only or env in self.only[name])

    def lams_of(self, env: str) -> tuple[str, ...]:
        """Names of the LAMs that some method needs on ``env``."""
        methods = [self.methods[name] for name in self.methods_of(env)]
        return tuple(dict.fromkeys(method.lam for method in methods if isinstance(method, LatentMethodSettings)))


def _holding(labels: Sequence[LabelCount], supervision: SupervisionSettings) -> tuple[LabelCount, ...]:
    """The label budgets whose transitions include those of ``supervision``: budgets in trajectories are other draws."""
    return tuple(count for count in labels if isinstance(count, int) and count >= supervision.labels)


def cut_to_trial(experiment: Experiment) -> Experiment:
    """The experiment with every number at most what its ``trial`` says, under a name of its own, which keeps it out of the real results.

    ValueError when no label budget is left.
    """
    trial = experiment.trial
    assert trial is not None
    labels = [count for count in experiment.labels if isinstance(count, int) and count <= trial.labels]
    if not labels:
        raise ValueError(f"trial.labels: no label budget is at most {trial.labels}; found {list(experiment.labels)}")
    rollout = {"num_envs": 2, "num_steps": 64, "minibatches": 1}
    limits: dict[type, Mapping[str, int]] = {
        TrainingSettings: {"steps": trial.steps, "batch_size": trial.batch_size},
        CollectionSettings: dict.fromkeys(
            ("train_episodes", "validation_episodes", "test_episodes", "reference_episodes"), trial.episodes
        ),
        EvaluationSettings: {"episodes": trial.episodes},
        SupervisionSettings: {"labels": max(labels), "label_draw": 0, "batch_size": trial.batch_size},
        PixelExpertSettings: {**rollout, "total_steps": 2 * 256, "validation_episodes": 2},
        OnlinePpoSettings: {**rollout, "total_steps": 4 * 128},
        OnlineDecoderSettings: {"first_fit": 128, "each_until": 512, "last_fit": 512},
        DelayedRateSettings: {"starts_at": 128, "full_at": 256},
    }
    cut = _limited(experiment.model_dump(mode="json"), experiment, limits)
    cut["collection"] |= {"source": "expert"}
    ending = "-trial"
    name = experiment.experiment[: LONGEST_NAME - len(ending)] + ending
    return Experiment.model_validate(cut | {"experiment": name, "labels": labels, "label_draws": 1})


def _limited(dumped: Any, settings: Any, limits: Mapping[type, Mapping[str, int]]) -> Any:
    """``dumped``, which was made of ``settings``, with the numbers of each settings group within its limits."""
    if isinstance(settings, Mapping):
        return {name: _limited(dumped[name], value, limits) for name, value in settings.items()}
    if not isinstance(settings, BaseModel):
        return dumped
    cut = {name: _limited(dumped[name], getattr(settings, name), limits) for name in type(settings).model_fields}
    cut |= {name: min(cut[name], most) for name, most in limits.get(type(settings), {}).items()}
    if isinstance(settings, TrainingSettings):  # each device has an equal part of the batch
        cut["batch_size"] += -cut["batch_size"] % settings.devices
    return cut


def _unique(values: Sequence[T], what: str) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{what} {value!r} is listed twice")


def load_experiment(raw: Any, source: str = "configuration") -> Experiment:
    """Validate a parsed configuration; ValueError lists each bad key with its value and what is allowed."""
    experiment = settings_from(raw, Experiment, source)
    try:
        return cut_to_trial(experiment) if experiment.trial else experiment
    except ValidationError as error:
        raise ValueError(explain(error, Experiment, source)) from None


def read_experiment(path: Path) -> Experiment:
    """Read and validate a YAML file; ValueError when it is not there, is no YAML or does not validate."""
    return load_experiment(read_yaml(path), source=str(path))
