"""The typed configuration: one pydantic model is the source of the YAML's validation, the JSON schema and the docs table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lamflow.catalogue import environment_spec
from lamflow.config_errors import explain

T = TypeVar("T")
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""A name that may stand in a path: lower-case letters, digits, '-' and '_'."""


class Settings(BaseModel):
    """Base of every settings group: unknown keys are refused, values are fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _complete_groups(cls, given: Any) -> Any:
        """A nested group that is given in part keeps the rest of the default it has here, which may differ from its class's; where there
        are kinds, one without a kind is of the default's kind, and one of another kind keeps nothing."""
        if not isinstance(given, dict):
            return given
        completed = dict(given)
        for name, field in cls.model_fields.items():
            default = field.get_default(call_default_factory=True, validated_data={})
            part = given.get(name)
            if not isinstance(default, BaseModel) or not isinstance(part, dict):
                continue
            kind = getattr(default, "kind", None)
            if part.get("kind", kind) == kind:
                own = {} if kind is None else {"kind": kind}
                completed[name] = own | default.model_dump(exclude_defaults=True) | part
        return completed


class TrainingSettings(Settings):
    """The one training loop."""

    steps: int = Field(2000, gt=0, description="Optimiser steps.")
    batch_size: int = Field(128, gt=0, description="Transitions a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of Adam.")
    warmup_steps: int = Field(50, ge=0, description="Steps over which the learning rate rises linearly to its peak.")
    initial_learning_rate_fraction: float = Field(
        0.1, ge=0, le=1, description="Learning rate at step 0 as a fraction of its peak, where there is a warm-up."
    )
    final_learning_rate_fraction: float = Field(
        0.01, ge=0, le=1, description="Learning rate at the last step as a fraction of its peak; linear in between."
    )
    adam_epsilon: float = Field(1e-8, gt=0, description="Adam's epsilon.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay (AdamW); 0 is plain Adam.")
    clip_norm: float = Field(2.0, gt=0, description="Largest gradient norm; larger gradients are scaled down to it.")
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto",
        description="Autocast precision of the networks. auto: bf16 on a GPU that has it and on CPUs with AMX, else float32. "
        "Quantiser, losses and optimiser state are always float32.",
    )
    log_every: int = Field(50, gt=0, description="Steps between two rows of the metrics file.")
    validate_every: int = Field(500, gt=0, description="Steps between two evaluations on held-out episodes.")
    checkpoint_every: int = Field(500, gt=0, description="Steps between two checkpoints in the state directory.")


class ExpertSettings(Settings):
    """The PPO expert (JAX) of XLand environments whose demonstrator is `ppo`; planners need no training."""

    total_steps: int = Field(2_000_000, gt=0, description="Environment steps of PPO training, at most.")
    target_return: float = Field(
        0.96, description="Training stops early once the mean raw return of ten rollouts in a row has reached this."
    )
    num_envs: int = Field(256, gt=0, description="Parallel environments.")
    num_steps: int = Field(32, gt=0, description="Steps a rollout and environment.")
    epochs: int = Field(4, gt=0, description="Passes over each rollout.")
    minibatches: int = Field(8, gt=0, description="Minibatches a pass.")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate, decayed linearly to 0.")
    discount: float = Field(0.99, gt=0, le=1, description="Discount factor gamma.")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of generalised advantage estimation.")
    clip_range: float = Field(0.2, gt=0, description="PPO's clipping range of the probability ratio.")
    entropy_coefficient: float = Field(0.01, ge=0, description="Weight of the entropy bonus.")
    value_coefficient: float = Field(0.5, ge=0, description="Weight of the value loss.")
    max_grad_norm: float = Field(0.5, gt=0, description="Gradient norm clip.")
    hidden_width: int = Field(128, gt=0, description="Width of the two hidden layers.")


class CollectionSettings(Settings):
    """Episodes of the demonstrator."""

    train_episodes: int = Field(2000, gt=0, description="Episodes of the train split.")
    validation_episodes: int = Field(
        200, gt=0, description="Episodes of the validation split (probes and held-out losses)."
    )
    test_episodes: int = Field(
        200, gt=0, description="Episodes of the test split; measures the demonstrator on test levels."
    )
    epsilon: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Probability of a uniformly random action at each step, so that every action occurs.",
    )
    sticky: float = Field(
        0.0, ge=0, lt=1, description="Probability that the demonstrator repeats its last action (Procgen)."
    )
    source: Literal["expert", "lapo", "dgrl"] = Field(
        "expert",
        description="Where the episodes of Procgen games come from. expert: rollouts of the expert; lapo: LAPO's published data; dgrl: the "
        "archives of 'The Generalization Gap in Offline RL'; see docs/datasets.md.",
    )
    levels: Literal["split", "all"] = Field(
        "split",
        description="Levels of Procgen games. split: each split has a range of its own; all: every split draws from all levels, as in "
        "LAPO (num_levels: 0).",
    )
    num_rulesets: int = Field(
        1000, gt=0, description="XLand rulesets over all splits (80% train, 10% validation, 10% test)."
    )
    reference_episodes: int = Field(
        512,
        gt=0,
        description="Episodes, on test levels, that measure the returns of the noise-free demonstrator and of random.",
    )


class QuantizerSettings(Settings):
    """Vector quantisation with exponential moving averages (VQ-EMA), as in LAPO."""

    kind: Literal["vq_ema", "none"] = Field("vq_ema", description="vq_ema, or none for a continuous latent.")
    codebooks: int = Field(2, gt=0, description="Codebooks.")
    tokens: int = Field(4, gt=0, description="Discrete tokens a codebook.")
    code_dim: int = Field(
        16, gt=0, description="Width of a code; the latent has codebooks x tokens x code_dim entries."
    )
    codes: int = Field(64, gt=1, description="Codes a codebook.")
    decay: float = Field(0.999, gt=0, lt=1, description="Decay of the moving averages.")
    commitment_weight: float = Field(0.05, ge=0, description="Weight of the commitment loss.")
    epsilon: float = Field(1e-5, gt=0, description="Laplace smoothing of the cluster sizes.")
    revive_below: float = Field(
        0.0,
        ge=0,
        description="A code whose moving cluster size (vectors a batch) falls below this is re-drawn from the batch; 0: never.",
    )

    @property
    def latent_dim(self) -> int:
        return self.codebooks * self.tokens * self.code_dim


Symmetry = Literal["none", "rotation"]
SYMMETRY = (
    "rotation: networks see the window turned by quarter turns so that the agent faces up in the present frame, which makes them "
    "invariant to rotations of the grid. Only for full views, whose dynamics have that symmetry."
)


class NetworkSettings(Settings):
    """A convolutional network over grids of categories."""

    kind: Literal["grid"] = "grid"
    width: int = Field(32, gt=0, description="Channels of each convolution.")
    layers: int = Field(3, gt=0, description="3x3 convolutions.")
    embedding_dim: int = Field(8, gt=0, description="Embedding width of each category (tile, colour).")
    pooling: Literal["max", "flatten"] = Field(
        "max", description="How the grid becomes a vector: max (translation-invariant) or flatten (keeps places)."
    )
    hidden_width: int = Field(128, gt=0, description="Width of the hidden layer after the pooling.")


class ImpalaSettings(Settings):
    """The IMPALA network over RGB frames."""

    kind: Literal["impala"] = "impala"
    stem: Literal["conv", "patch"] = Field(
        "conv",
        description="conv: 3x3 convolution at full resolution and max-pool (LAPO); patch: an 8x8 convolution of stride 4, "
        "several times faster.",
    )
    channels: tuple[int, ...] = Field(
        (16, 32, 32), min_length=1, description="Channels of each sequence, before `scale`."
    )
    scale: int = Field(1, gt=0, description="Factor on all channels; LAPO's networks have 4.")
    blocks: int = Field(2, ge=0, description="Residual blocks a sequence.")
    hidden_width: int = Field(256, gt=0, description="Width of the hidden layer.")


class UnetSettings(Settings):
    """The U-Net forward dynamics model over RGB frames."""

    kind: Literal["unet"] = "unet"
    stem: Literal["conv", "patch"] = Field(
        "conv",
        description="conv: at full resolution (LAPO); patch: on 4x4 patches moved into channels, many times faster.",
    )
    base_width: int = Field(24, gt=0, description="Channels of the first block; each deeper one has twice as many.")
    predicts: Literal["frame", "change"] = Field(
        "frame", description="frame: the output is the next frame (LAPO); change: it is added to the present frame."
    )


EncoderSettings = Annotated[NetworkSettings | ImpalaSettings, Field(discriminator="kind")]
"""A network from frames to a vector: grid for XLand-MiniGrid, impala for pixels."""
DynamicsSettings = Annotated[NetworkSettings | UnetSettings, Field(discriminator="kind")]
"""A forward dynamics model: grid for XLand-MiniGrid, unet for pixels."""


class PixelExpertSettings(Settings):
    """The PPO expert (torch) of Procgen games; the defaults are the published recipe of Procgen's easy mode."""

    source: Literal["shipped", "train"] = Field(
        "shipped",
        description="shipped: the checkpoint under resources/experts/ where the game has one, training where it has none; train: "
        "always train.",
    )
    num_envs: int = Field(64, gt=1, description="Parallel environments, in two groups that take turns.")
    num_steps: int = Field(256, gt=0, description="Steps a rollout and environment.")
    total_steps: int = Field(25_000_000, gt=0, description="Environment steps of training.")
    epochs: int = Field(3, gt=0, description="Passes over each rollout.")
    minibatches: int = Field(8, gt=0, description="Minibatches a pass.")
    learning_rate: float = Field(5e-4, gt=0, description="Adam's learning rate.")
    final_learning_rate_fraction: float = Field(
        1.0, ge=0, le=1, description="Learning rate at the end as a fraction of that at the start; linear in between."
    )
    discount: float = Field(0.999, gt=0, le=1, description="Discount factor gamma.")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of generalised advantage estimation.")
    clip_range: float = Field(0.2, gt=0, description="PPO's clipping range of the probability ratio and of the value.")
    entropy_coefficient: float = Field(0.01, ge=0, description="Weight of the entropy bonus.")
    value_coefficient: float = Field(0.5, ge=0, description="Weight of the value loss.")
    max_grad_norm: float = Field(0.5, gt=0, description="Gradient norm clip.")
    mask_duplicate_actions: bool = Field(
        False,
        description="Take one action only of each set that does the same thing in the game; see docs/environments.md.",
    )
    network: ImpalaSettings = Field(default_factory=ImpalaSettings, description="The network.")
    precision: Literal["auto", "float32", "bf16"] = Field("auto", description="Autocast precision; see `training`.")
    validate_every: int = Field(100, gt=0, description="Rollouts between two evaluations on validation levels.")
    validation_episodes: int = Field(64, gt=0, description="Episodes of such an evaluation.")
    checkpoint_every: int = Field(10, gt=0, description="Rollouts between two checkpoints in the state directory.")

    @model_validator(mode="after")
    def _whole_batches(self) -> PixelExpertSettings:
        if self.num_envs % 2:
            raise ValueError(f"num_envs: found {self.num_envs}, expected an even number")
        if self.num_envs * self.num_steps % self.minibatches:
            raise ValueError(
                f"minibatches: found {self.minibatches}, expected a divisor of num_envs * num_steps = "
                f"{self.num_envs * self.num_steps}"
            )
        return self


class LamSettings(Settings):
    """A latent action model: inverse dynamics model, quantiser, forward dynamics model."""

    inverse_dynamics: EncoderSettings = Field(
        default_factory=NetworkSettings, description="The inverse dynamics model (IDM)."
    )
    forward_dynamics: DynamicsSettings = Field(
        default_factory=NetworkSettings, description="The forward dynamics model (FDM)."
    )
    quantizer: QuantizerSettings = Field(default_factory=QuantizerSettings, description="The quantiser between them.")
    symmetry: Symmetry = Field("none", description=SYMMETRY)
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="Its training.")


class PolicySettings(Settings):
    """A policy network and its inputs."""

    network: EncoderSettings = Field(
        default_factory=lambda: NetworkSettings(pooling="flatten"), description="The network."
    )
    value_head: bool = Field(
        False, description="A value head beside the output, for fine-tuning online; cloning leaves it as it is."
    )
    context: int = Field(
        1,
        gt=0,
        description="Frames the policy sees: the current one and context - 1 before it. A recurrent policy sees them in training "
        "and the whole episode in rollouts.",
    )
    recurrent: bool = Field(
        False, description="A GRU over the episode instead of a context of frames; needs a context above 1."
    )
    proprioception: bool = Field(
        True, description="Input of direction and carried object, which an egocentric view hides."
    )
    symmetry: Symmetry = Field("none", description=SYMMETRY)
    task: bool = Field(True, description="Input of the goal's encoding where the task varies (XLand rulesets).")
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="Its training.")

    @model_validator(mode="after")
    def _recurrent_needs_history(self) -> PolicySettings:
        if self.recurrent and self.context == 1:
            raise ValueError(
                "policy.recurrent: true needs a context above 1, the frames of history in training; found context: 1"
            )
        return self


class DecoderSettings(Settings):
    """From latent actions to true actions, with a few labels."""

    kind: Literal["mlp", "dictionary"] = Field(
        "mlp",
        description="mlp: a network on the latent; dictionary: smoothed counts of true actions a code (Genie's way).",
    )
    hidden_widths: tuple[int, ...] = Field((128, 128), description="Hidden layers of the MLP.")
    smoothing: float = Field(
        0.1, gt=0, description="Pseudo-count of each action and code, shared out by the labels' frequencies."
    )
    training: TrainingSettings = Field(
        default_factory=lambda: TrainingSettings(steps=300, learning_rate=1e-3), description="Training of the MLP."
    )


class LatentMethodSettings(Settings):
    """Policy in latent actions + action decoder (LAPO and its relatives)."""

    kind: Literal["latent"] = "latent"
    lam: Name = Field(description="The LAM, by its name under `lams`.")
    target: Literal["latent", "codes"] = Field(
        "latent",
        description="latent: regression on the pre-quantisation latent (MSE, LAPO); codes: categorical over the codes.",
    )
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The latent policy.")
    decoder: DecoderSettings = Field(default_factory=DecoderSettings, description="The action decoder.")


class BcMethodSettings(Settings):
    """Behaviour cloning on the N labelled transitions alone."""

    kind: Literal["bc"] = "bc"
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")


class VptMethodSettings(Settings):
    """An IDM trained on the N labels, its pseudo-labels on all episodes, behaviour cloning on them (VPT)."""

    kind: Literal["vpt"] = "vpt"
    inverse_dynamics: EncoderSettings = Field(default_factory=NetworkSettings, description="The supervised IDM.")
    symmetry: Symmetry = Field("none", description="Of the supervised IDM. " + SYMMETRY)
    decoder: DecoderSettings = Field(default_factory=DecoderSettings, description="Training of the supervised IDM.")
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")


class OracleMethodSettings(Settings):
    """Behaviour cloning on the true action of every transition: the ceiling of the same inputs."""

    kind: Literal["oracle_bc"] = "oracle_bc"
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")


class RandomMethodSettings(Settings):
    """Uniformly random actions."""

    kind: Literal["random"] = "random"


MethodSettings = Annotated[
    LatentMethodSettings | BcMethodSettings | VptMethodSettings | OracleMethodSettings | RandomMethodSettings,
    Field(discriminator="kind"),
]


class EvaluationSettings(Settings):
    """Rollouts of the agents on test levels."""

    episodes: int = Field(100, gt=0, description="Episodes an agent (label count and draw).")
    action_selection: Literal["argmax", "sample"] = Field(
        "sample", description="How an action is taken from its distribution."
    )
    bootstrap_samples: int = Field(2000, gt=0, description="Resamples of the stratified bootstrap intervals.")


class LoggingSettings(Settings):
    """Weights & Biases, beside the metrics files that are always written."""

    wandb: bool = Field(False, description="Also log to Weights & Biases.")
    wandb_mode: Literal["offline", "online"] = Field(
        "offline", description="offline needs neither a key nor a network."
    )
    wandb_project: str = Field("lamflow", description="Project name at Weights & Biases.")


class TrialSettings(Settings):
    """A trial run of an experiment at its full network sizes: nothing that it trains is of use, but every stage has run.

    For example `snakemake all --configfile config/paper.yaml --config "envs=[procgen-leaper]" "seeds=[0]" "trial={steps: 50}"`.
    Label budgets that the few episodes may not hold are left out, there is one label draw, and episodes come from the
    simulator.
    """

    steps: int = Field(50, gt=0, description="Optimiser steps of every training, at most.")
    batch_size: int = Field(8, gt=0, description="Batch size of every training, at most.")
    episodes: int = Field(4, gt=0, description="Episodes a split and of every evaluation, at most.")
    labels: int = Field(64, gt=0, description="Largest label budget, in transitions.")


LabelCount = int | str
_TRAJECTORIES = re.compile(r"^(\d+) trajectories$")


def parse_label_count(labels: LabelCount) -> tuple[int, Literal["transitions", "trajectories"]]:
    """``64`` -> (64, 'transitions'); ``'500 trajectories'`` -> (500, 'trajectories'); ValueError otherwise."""
    if isinstance(labels, int) and labels > 0:
        return labels, "transitions"
    if isinstance(labels, str):
        if labels.isdigit() and int(labels) > 0:
            return int(labels), "transitions"
        match = _TRAJECTORIES.match(labels)
        if match and int(match[1]) > 0:
            return int(match[1]), "trajectories"
    raise ValueError(f"label count {labels!r}: expected a positive integer or '<n> trajectories'")


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
    label_draws: int = Field(3, gt=0, description="Random draws of the labels for each budget and seed.")
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
                if isinstance(seed, bool) or not re.fullmatch(r"\d+", str(seed)):
                    raise ValueError(f"seed {seed!r} is no non-negative integer")
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
        for name, envs in self.only.items():
            if name not in self.methods:
                raise ValueError(f"only.{name}: unknown method; known: {', '.join(self.methods)}")
            for env in envs:
                if env not in self.envs:
                    raise ValueError(f"only.{name}: environment {env!r} is not among envs")
        for env in self.envs:
            for key in self._rotated_on(env):
                if environment_spec(env).view != "full":
                    raise ValueError(f"{key}: rotation needs a full view, and {env} has an egocentric one")
        return self

    def _rotated_on(self, env: str) -> list[str]:
        """Keys of the symmetries that are set to rotation and used on ``env``."""
        symmetries = {f"lams.{lam}.symmetry": self.lams[lam].symmetry for lam in self.lams_of(env)}
        for name in self.methods_of(env):
            method = self.methods[name]
            if isinstance(method, VptMethodSettings):
                symmetries[f"methods.{name}.symmetry"] = method.symmetry
            if not isinstance(method, RandomMethodSettings):
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
            if not isinstance(method, RandomMethodSettings):
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

    def methods_of(self, env: str) -> tuple[str, ...]:
        """Names of the methods that run on ``env``."""
        return tuple(name for name in self.methods if name not in self.only or env in self.only[name])

    def lams_of(self, env: str) -> tuple[str, ...]:
        """Names of the LAMs that some method needs on ``env``."""
        methods = [self.methods[name] for name in self.methods_of(env)]
        return tuple(dict.fromkeys(method.lam for method in methods if isinstance(method, LatentMethodSettings)))


def cut_to_trial(experiment: Experiment) -> Experiment:
    """The experiment with every number at most what its ``trial`` says; ValueError when no label budget is left."""
    trial = experiment.trial
    assert trial is not None
    labels = [count for count in experiment.labels if isinstance(count, int) and count <= trial.labels]
    if not labels:
        raise ValueError(f"trial.labels: no label budget is at most {trial.labels}; found {list(experiment.labels)}")
    limits: dict[type, Mapping[str, int]] = {
        TrainingSettings: {"steps": trial.steps, "batch_size": trial.batch_size},
        CollectionSettings: dict.fromkeys(
            ("train_episodes", "validation_episodes", "test_episodes", "reference_episodes"), trial.episodes
        ),
        EvaluationSettings: {"episodes": trial.episodes},
        PixelExpertSettings: {"num_envs": 2, "total_steps": 2 * 256, "num_steps": 64, "validation_episodes": 2},
    }
    cut = _limited(experiment.model_dump(mode="json"), experiment, limits)
    cut["collection"] |= {"source": "expert"}
    return Experiment.model_validate(cut | {"labels": labels, "label_draws": 1})


def _limited(dumped: Any, settings: Any, limits: Mapping[type, Mapping[str, int]]) -> Any:
    """``dumped``, which was made of ``settings``, with the numbers of each settings group within its limits."""
    if isinstance(settings, Mapping):
        return {name: _limited(dumped[name], value, limits) for name, value in settings.items()}
    if not isinstance(settings, BaseModel):
        return dumped
    cut = {name: _limited(dumped[name], getattr(settings, name), limits) for name in type(settings).model_fields}
    return cut | {name: min(cut[name], most) for name, most in limits.get(type(settings), {}).items()}


def _unique(values: Sequence[T], what: str) -> None:
    repeated = [value for index, value in enumerate(values) if value in values[:index]]
    if repeated:
        raise ValueError(f"{what} {repeated[0]!r} is listed twice")


def load_experiment(raw: Any, source: str = "configuration") -> Experiment:
    """Validate a parsed configuration; ValueError lists each bad key with its value and what is allowed."""
    try:
        experiment = Experiment.model_validate(raw)
        return cut_to_trial(experiment) if experiment.trial else experiment
    except ValidationError as error:
        raise ValueError(explain(error, Experiment, source)) from None


def read_experiment(path: Path) -> Experiment:
    """Read and validate a YAML file; ValueError when it is not there, is no YAML or does not validate."""
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not readable as YAML: {error}") from None
    return load_experiment(raw, source=str(path))
