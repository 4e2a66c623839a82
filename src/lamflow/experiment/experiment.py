"""The typed configuration: one pydantic model is the source of the YAML's validation, the JSON schema and the docs table.

The settings groups stand beside what they describe.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lamflow.data.label_budgets import LabelBudget, LabelCount
from lamflow.envs.described import described
from lamflow.envs.presets import preset, presets
from lamflow.envs.settings import AnyEnvironment, EnvironmentSettings
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.settings import EvaluationSettings
from lamflow.experiment.left_out import idle_methods
from lamflow.experiment.trial import TrialSettings
from lamflow.lam.settings import AnyLam, SupervisionSettings
from lamflow.methods.settings import AnyMethod, MethodSettings, Stage
from lamflow.rl.demonstrator_settings import (
    CollectionSettings,
    ExpertSettings,
    PixelExpertSettings,
    VectorExpertSettings,
)
from lamflow.settings import Name, Settings
from lamflow.settings_errors import short_repr
from lamflow.spaces import Unknown
from lamflow.training.settings import LoggingSettings

T = TypeVar("T")


LARGEST_SEED = 2**32 - 1
"""NumPy's generators take no larger one; two seeds that are equal in 32 bits would give equal repetitions."""


class Experiment(Settings):
    """A whole experiment: environments x seeds x methods."""

    experiment: Name = Field(description="Name of the experiment; results go to results/<experiment>/.")
    environments: dict[Name, AnyEnvironment] = Field(
        default_factory=dict, description="Environments of your own, by the names that `envs` and `only` take them by."
    )
    envs: tuple[str, ...] = Field(
        min_length=1,
        description="Environments by name; see docs/environments.md. A mapping of a new name to settings, as under `environments`, defines "
        "one in its place.",
        json_schema_extra={"items": {"anyOf": [{"type": "string"}, {"type": "object", "maxProperties": 1}]}},
    )
    seeds: tuple[int, ...] = Field(
        min_length=1, description="Seeds of the learners; every seed is a full repetition from the LAM on."
    )
    labels: tuple[LabelCount, ...] = Field(
        (16, 64, 256, 1024), min_length=1, description="Label budgets: transitions, or '<n> trajectories'."
    )
    label_draws: int = Field(3, gt=0, le=100, description="Random draws of the labels for each budget and seed.")
    expert: ExpertSettings = Field(default_factory=ExpertSettings, description="PPO experts of XLand environments.")
    pixel_expert: PixelExpertSettings = Field(
        default_factory=PixelExpertSettings,
        description="PPO experts of Procgen games, and of other environments that show pixels.",
    )
    vector_expert: VectorExpertSettings = Field(
        default_factory=VectorExpertSettings,
        description="PPO experts of Gymnasium environments that show vectors.",
    )
    collection: CollectionSettings = Field(default_factory=CollectionSettings, description="Episode collection.")
    lams: dict[Name, AnyLam] = Field(default_factory=dict, description="Latent action models by name.")
    methods: dict[Name, AnyMethod] = Field(min_length=1, description="Methods by name.")
    only: dict[Name, tuple[str, ...]] = Field(
        default_factory=dict, description="Restricts methods, by name, to some of the environments; others run on all."
    )
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings, description="Evaluation.")
    logging: LoggingSettings = Field(default_factory=LoggingSettings, description="Logging.")
    trial: TrialSettings | None = Field(
        None, description="Cuts the whole experiment down to a trial run of every stage; see docs/configuration.md."
    )

    @model_validator(mode="before")
    @classmethod
    def _environments_in_their_place(cls, given: Any) -> Any:
        """Those that `envs` defines stand under `environments`, too."""
        if not isinstance(given, Mapping) or not isinstance(entries := given.get("envs"), list | tuple):
            return given
        defined = [entry for entry in entries if isinstance(entry, Mapping)]
        own = given.get("environments", {})
        if not defined or not isinstance(own, Mapping):
            return given
        names = [name for entry in defined for name in entry]
        for name in names:
            if name in own or names.count(name) > 1:
                raise ValueError(f"envs: {name!r} is defined twice; give each environment a name of its own")
        flat = [name for entry in entries for name in (entry if isinstance(entry, Mapping) else [entry])]
        return {**given, "envs": flat, "environments": {**own, **{k: v for entry in defined for k, v in entry.items()}}}

    @field_validator("environments")
    @classmethod
    def _names_of_their_own(cls, environments: dict[str, EnvironmentSettings]) -> dict[str, EnvironmentSettings]:
        if taken := [name for name in environments if name in presets()]:
            raise ValueError(f"{taken[0]} is an environment of lamflow: give yours another name")
        return environments

    @field_validator("envs")
    @classmethod
    def _known_environments(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # Where those of one's own are wrong, that is the problem, and not their names.
        for name in names if "environments" in info.data else ():
            if name not in info.data["environments"]:
                preset(name)
        _unique(names, "environment")
        return names

    @model_validator(mode="after")
    def _environments_can_be_made(self) -> Experiment:
        for env in self.envs:
            self.environment(env)
        return self

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
        counts = tuple(LabelBudget.of_configuration(label).written for label in labels)
        _unique(counts, "label count")
        return counts

    @model_validator(mode="after")
    def _references(self) -> Experiment:
        for name, method in self.methods.items():
            for key, problem in method.problems_among(self.lams, self.methods):
                raise ValueError(f"methods.{name}{'.' if key else ''}{key}: {problem}")
            self._check_where_tuned(name, method)
        for name, envs in self.only.items():
            if name not in self.methods:
                raise ValueError(f"only.{name}: unknown method; known: {', '.join(self.methods)}")
            for env in envs:
                if env not in self.envs:
                    raise ValueError(f"only.{name}: environment {env!r} is not among envs")
        for env in self.envs:
            if not self.methods_of(env):
                raise ValueError(f"only: no method is left for {env}; take it out of envs or name it under a method")
        return self

    def _check_where_tuned(self, name: str, method: MethodSettings) -> None:
        """ValueError unless a method that takes another's policy further runs where that one does."""
        tuned = method.tuned_name
        for env in self.envs if tuned else ():
            if name in self.methods_of(env) and tuned not in self.methods_of(env):
                raise ValueError(
                    f"methods.{name}: runs on {env}, where its latent method {tuned!r} does not; see `only`"
                )

    @model_validator(mode="after")
    def _all_suit_their_environments(self) -> Experiment:
        """What is used on an environment may say why it cannot be, at any depth."""
        for env in self.envs:
            used: dict[str, Settings] = {f"lams.{name}": self.lams[name] for name in self.lams_of(env)}
            used |= {f"methods.{name}": self.methods[name] for name in self.methods_of(env)}
            for key, group in used.items():
                for problem in _problems_below(self.environment(env), group, key):
                    raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _labels_within_data(self) -> Experiment:
        """What is sure to be too many; the stages count the labels that the episodes really hold."""
        for labels in self.labels:
            budget = LabelBudget.parse(labels)
            for env in self.envs:
                if self.environment(env).action.kind == Unknown.kind:
                    continue
                episodes = self._train_episodes(env)
                most = episodes if budget.unit == "trajectories" else episodes * self.environment(env).max_steps
                if budget.count > most:
                    raise ValueError(
                        f"labels: {labels} exceeds the train split of {env}: {episodes} episodes, at most {most} {budget.unit}"
                    )
                self._check_labels_of_members(env, budget)
        return self

    def _check_labels_of_members(self, env: str, budget: LabelBudget) -> None:
        """ValueError when the share of a budget that is of one of the environments that ``env`` is made of is sure to be too large."""
        members = self.stores_behind(env, "train")
        shares = None if members == (env,) else self.shares_of(env)
        labelled = [pair for pair in zip(members, shares or (), strict=False) if self.has_actions(pair[0])]
        whole = sum(share for _, share in labelled)
        for member, part in labelled:
            share = part / whole
            episodes = self._train_episodes(member)
            most = episodes * (1 if budget.unit == "trajectories" else self.environment(member).max_steps)
            if budget.count * share > most + 1:  # a draw may be off by one
                raise ValueError(
                    f"labels: {budget} exceeds what {member} has in {env}, by its share of {share:.3g}: {episodes} episodes, at most "
                    f"{most} {budget.unit}"
                )

    @model_validator(mode="after")
    def _episodes_within_data(self) -> Experiment:
        """Episodes that methods ask for, where their number is known; the stages count those of published data."""
        for name, method in self.methods.items():
            asked = {key: count for key, count in method.asked_episodes().items() if count != "all"}
            for env in self.envs if asked else ():
                if name not in self.methods_of(env) or not self._collects(env):
                    continue
                held = self._train_episodes(env)
                for key, count in asked.items():
                    if count > held:
                        raise ValueError(
                            f"methods.{name}.{key}: found {count}, expected at most the {held} episodes of the train split of {env}; see "
                            "collection.train_episodes"
                        )
        return self

    def _train_episodes(self, env: str) -> int:
        """Episodes of the train split, where demonstrators play them, or nobody."""
        behind = [self.environment(name) for name in self.stores_behind(env, "train")]
        recorded = [spec.own["episodes"]["train"] for spec in behind if spec.demonstrator == "recorded"]
        return sum(recorded) + self.collection.train_episodes * (len(behind) - len(recorded))

    def _collects(self, env: str) -> bool:
        """Whether the episodes of ``env`` are the demonstrator's, and not published data."""
        families = {self.environment(each).family for each in self.stores_behind(env, "train")}
        return self.collection.source == "expert" or "procgen" not in families

    @model_validator(mode="after")
    def _plays_in_training_one_environment(self) -> Experiment:
        """A curve of returns is of one environment."""
        for env in self.envs if self.evaluation.during_training else ():
            if self.environment(env).members and self.is_played(env):
                raise ValueError(
                    f"evaluation.during_training: found {self.evaluation.during_training}, and {env} is made of others, in which no agent "
                    "plays while it is trained: expected 0, or an experiment without it"
                )
        return self

    @model_validator(mode="after")
    def _played_or_recorded(self) -> Experiment:
        """Agents play in all of what an environment is made of, or in nothing of it."""
        for env in self.envs:
            behind = self.stores_behind(env, "test")
            played = [name for name in behind if self.is_played(name)]
            if played and len(played) < len(behind):
                recorded = ", ".join(name for name in behind if name not in played)
                raise ValueError(
                    f"environments.{env}: found {', '.join(played)}, where agents play, beside {recorded}, of which there are recordings "
                    "alone: name environments of one of these kinds, which may stand beside each other under `envs`"
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
        if not settings.takes_labels:
            return []
        supervision = self._supervision_of(settings)
        return list(self.labels if supervision is None else _holding(self.labels, supervision))

    def label_draws_of(self, method: str) -> int | list[int]:
        """How many label draws ``method`` has, or a list of the only one: that of which its LAM has seen labels."""
        settings = self.methods[method]
        supervision = self._supervision_of(settings)
        if supervision is not None:
            return [supervision.label_draw]
        if settings.most_label_draws is not None:
            return min(settings.most_label_draws, self.label_draws)
        return self.label_draws if self.labels_of(method) else 1

    def num_agents(self, method: str) -> int:
        """Agents of ``method`` on one environment and seed: one a label count and draw where labels are few."""
        draws = self.label_draws_of(method)
        return max(1, len(self.labels_of(method))) * (draws if isinstance(draws, int) else len(draws))

    def _supervision_of(self, method: MethodSettings) -> SupervisionSettings | None:
        return self.lams[method.lam_name].supervision if method.lam_name else None

    def is_played(self, env: str) -> bool:
        """Whether somebody plays an environment: of others there are recordings alone."""
        return all(self.environment(name).family != "recorded" for name in self.stores_behind(env, "test"))

    def has_actions(self, env: str) -> bool:
        """Whether some actions are known of an environment's episodes; else nothing but latent actions is learnt of it."""
        return self.environment(env).action.kind != Unknown.kind

    def does(self, env: str, method: str, stage: Stage) -> bool:
        """Whether a method does a stage on an environment."""
        settings = self.methods[method]
        if settings.needed(stage) is None or (stage == "scores" and self.is_played(env)):
            return False
        return self.has_actions(env) or not settings.needs_actions(stage)

    def warnings(self) -> list[str]:
        """What its results will suffer from, and what it asks for in vain, a line each."""
        unplayed = [env for env in self.envs if not self.is_played(env)] if self.evaluation.during_training else []
        unseen = [name for name, method in self.methods.items() if method.needs("policy") is not None]
        unseen = [name for name in unseen if not self.methods[name].plays_in_training]
        return [
            *(
                f"methods.{name}: is not evaluated in training (evaluation.during_training), as its agents need what is made of the "
                "trained policy"
                for name in (unseen if self.evaluation.during_training else ())
            ),
            *(
                f"{env}: nobody plays it, so its policies are not evaluated in training (evaluation.during_training)"
                for env in unplayed
            ),
            *(
                f"methods.{name}: learns nothing of {env}, whose actions nobody knows"
                for name, env in idle_methods(self)
            ),
            *self._warnings_of_environments(),
        ]

    def _warnings_of_environments(self) -> list[str]:
        unseen = [(env, ", ".join(self.environment(env).own.get("left_out", ()))) for env in self.envs]
        noted = [(env, note) for env in self.simulated_envs for note in self.environment(env).own.get("notes", ())]
        return [
            *(
                f"{env}: its policies do not see {parts}, which not all of its environments have, or not alike"
                for env, parts in unseen
                if parts
            ),
            *(f"{env}: {note}" for env, note in noted),
            *(
                f"{env}: two episodes with the same seed and actions differed, so evaluations and films cannot be repeated, and what is "
                "made again will differ: draw all that is random from the seed of reset()"
                for env in self.simulated_envs
                if not self.environment(env).own.get("repeats", True)
            ),
        ]

    def environment(self, name: str) -> EnvironmentSpec:
        """The facts of an environment of ``envs``, or of one that it is made of; ValueError when one of your own cannot be used, which is
        found by trying it."""
        if name not in self.environments:
            return preset(name)
        settings = self.environments[name]
        others = {other: self._part_of(name, other) for other in (*settings.made_of, *settings.played_in)}
        try:
            return described(settings, name, others)
        except ValueError as error:
            raise ValueError(f"environments.{name}.{error}") from None

    def _part_of(self, name: str, other: str) -> EnvironmentSpec:
        """The facts of an environment that ``name`` is made of, or played in."""
        if other in self.environments and self.environments[other].made_of:
            raise ValueError(
                f"environments.{name}: found {other!r} among its members, which is made of others itself: name those"
            )
        if other not in self.environments and other not in presets():
            known = sorted({*presets(), *self.environments} - {name})
            raise ValueError(f"environments.{name}: unknown environment {other!r}; known: {', '.join(known)}")
        return self.environment(other)

    def shares_of(self, env: str) -> tuple[float, ...] | None:
        """How much learners see of each member of an environment that is made of others; None: by size."""
        return self.environments[env].shares_of_members

    def stores_behind(self, env: str, split: str) -> tuple[str, ...]:
        """The environments whose episodes an environment's split is: itself, or those that it is made of, and for test those in which its
        agents play."""
        settings = self.environments.get(env)
        if settings is None or not settings.made_of:
            return (env,)
        return settings.played_in if split == "test" else settings.made_of

    @property
    def simulated_envs(self) -> tuple[str, ...]:
        """All environments that somebody plays, by name: those of ``envs``, and what others of them are made of."""
        found = (name for env in self.envs for split in ("train", "test") for name in self.stores_behind(env, split))
        return tuple(dict.fromkeys(found))

    def methods_of(self, env: str) -> tuple[str, ...]:
        """Names of the methods that run on ``env``."""
        return tuple(name for name in self.methods if name not in self.only or env in self.only[name])

    def lams_of(self, env: str) -> tuple[str, ...]:
        """Names of the LAMs that some method needs on ``env``."""
        names = [self.methods[name].lam_name for name in self.methods_of(env)]
        return tuple(dict.fromkeys(name for name in names if name))


def _problems_below(spec: EnvironmentSpec, settings: Settings, key: str) -> Iterator[str]:
    """Why settings that stand at ``key``, or groups in them, cannot be used on an environment, a line each."""
    yield from (f"{key}.{name}: {problem}" for name, problem in settings.problems_on(spec))
    for name in type(settings).model_fields:
        if isinstance(part := getattr(settings, name), Settings):
            yield from _problems_below(spec, part, f"{key}.{name}")


def _holding(labels: Sequence[LabelCount], supervision: SupervisionSettings) -> tuple[LabelCount, ...]:
    """The label budgets whose transitions include those of ``supervision``: budgets in trajectories are other draws."""
    return tuple(count for count in labels if LabelBudget.parse(count).transitions >= supervision.labels)


def _unique(values: Sequence[T], what: str) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{what} {value!r} is listed twice")
