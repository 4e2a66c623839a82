"""What each job of the workflow has to do and to hold, from the configuration: samples, networks, frames, files.

A job is a rule's name and its wildcards; seeds do not matter here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from math import prod

from lamflow.data.label_budgets import LabelBudget
from lamflow.envs.presets import preset
from lamflow.envs.procgen_presets import PROCGEN_GAMES
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.xland_views import egocentric_twin
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.methods.online_settings import OnlineMethodSettings
from lamflow.methods.settings import MethodSettings
from lamflow.methods.vpt_settings import VptMethodSettings
from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.policies.settings import HeadSettings, PolicySettings, action_outputs
from lamflow.rl.ppo_settings import PpoSettings
from lamflow.runs.rates import WorkKind
from lamflow.runs.scope import Scope, Task, Work
from lamflow.runs.sizes import (
    ActorCriticSize,
    NetworkSize,
    acting_size,
    action_labeller_size,
    decoder_size,
    grid_expert_size,
    labelling_size,
    lam_size,
    online_policy_size,
    pixel_expert_size,
    policy_size,
    vector_expert_size,
)
from lamflow.settings import Settings
from lamflow.spaces import known_actions
from lamflow.training.settings import TrainingSettings

VALIDATION_SAMPLES = 4096
"""ASSUME: a validation costs about as much as this many samples of training: it looks at 4,096 or 8,192 without gradients."""
HELD_ROWS = 4096
"""Labelled rows whose frames are in memory at once (``lamflow.policies.dataset``)."""
PUBLISHED_FRAMES = {"download_lapo": 8_000_000, "download_dgrl": 1_000_000}
"""Of one game's archive, see docs/datasets.md."""
CARD_EPISODES = 400
"""Episodes behind the card of an expert: 200 of the expert and 200 at random."""
SHIPPED_NETWORK = ImpalaSettings(stem="patch", channels=(32, 32))
"""The experts' that come with the checkout."""


@cache
def _work_of(scope: Scope, rule: str, named: tuple[tuple[str, str], ...]) -> Work:
    return STAGES[rule](scope, dict(named)) if rule in STAGES else Work()


def work_of(scope: Scope, rule: str, wildcards: Mapping[str, str]) -> Work:
    """The work of one job. Rules without an entry here (tables, plots) have a start-up and nothing that scales."""
    named = tuple((name, str(wildcards[name])) for name in ("env", "lam", "method", "split") if name in wildcards)
    return _work_of(scope, rule, named)


def _frame_bytes(spec: EnvironmentSpec) -> int:
    """Of the main part of an observation: pixels and categories are bytes."""
    return prod(spec.frame_shape) * (4 if spec.main_part.dtype == "float32" else 1)


def _window(scope: Scope, spec: EnvironmentSpec, training: TrainingSettings) -> int:
    """Bytes of frames that a training holds: its window, or the whole train split where that is smaller for certain."""
    return min(int(training.window_gib * 2**30), scope.most_rows_of(spec.name, "train") * _frame_bytes(spec))


def _samples(training: TrainingSettings) -> int:
    """Samples of a training, its validations included."""
    validations = -(-training.steps // training.validate_every)
    return training.steps * training.batch_size + validations * VALIDATION_SAMPLES


def _expert(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    """A training of XLand's PPO, or of that over vectors; planners, shipped experts and policies of users need none."""
    spec, settings = scope.experiment.environment(wildcards["env"]), scope.experiment.expert
    if spec.view == "pixels" or spec.demonstrator != "ppo":
        return Work()
    if not spec.is_grid_world:
        over_vectors = scope.experiment.vector_expert
        return _ppo("ppo", over_vectors, vector_expert_size(spec, over_vectors.hidden_width))
    return _ppo("ppo", settings, grid_expert_size(egocentric_twin(spec), settings.hidden_width))


def _pixel_expert(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    """Procgen's PPO."""
    spec, settings = scope.experiment.environment(wildcards["env"]), scope.experiment.pixel_expert
    return _ppo("ppo", settings, pixel_expert_size(spec, settings.network))


def _ppo(kind: WorkKind, settings: PpoSettings, size: ActorCriticSize, also_kept: int = 0) -> Work:
    """Each step of an environment is one forward pass, and in each epoch a training sample of what is trained. ``also_kept``: bytes of a
    rollout's step, beside those that are learnt from."""
    return Work(
        (Task(kind, settings.total_steps, size.macs + 3 * settings.epochs * size.trained_macs),),
        networks=size.parameters,
        batch_macs=settings.steps_a_rollout // settings.minibatches * size.trained_macs,
        window_bytes=settings.steps_a_rollout * (size.kept_bytes + also_kept),
        output_bytes=4 * size.parameters,
    )


def _expert_network(scope: Scope, spec: EnvironmentSpec) -> NetworkSize:
    """Of what plays when episodes are collected; XLand's experts are small and compiled with the simulator."""
    if spec.view != "pixels" or spec.demonstrator != "ppo":
        return NetworkSize(0, 0)
    shipped = spec.name in scope.shipped_experts
    size = pixel_expert_size(spec, SHIPPED_NETWORK if shipped else scope.experiment.pixel_expert.network)
    return NetworkSize(size.macs, size.parameters)


def _card(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    spec = scope.experiment.environment(wildcards["env"])
    size = _expert_network(scope, spec)
    steps = CARD_EPISODES * spec.max_steps * scope.rates.facts_of("pixels").agent_share
    return Work((Task("collection", steps, size.macs),), networks=size.parameters)


def _collection(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    """A split's episodes, and those of the demonstrator and of random by which returns are normalised."""
    spec, split = scope.experiment.environment(wildcards["env"]), wildcards["split"]
    facts = scope.facts_of(spec)
    size, rows = _expert_network(scope, spec), scope.rows_of(spec.name, split)
    # ASSUME: random episodes are as long as those of an agent under evaluation.
    reference = scope.experiment.collection.reference_episodes * spec.max_steps
    steps = rows + reference * (facts.demonstrator_share + facts.agent_share)
    kind: WorkKind = "planning" if spec.demonstrator == "planner" else "collection"
    return Work(
        (Task(kind, steps, size.macs),),
        networks=size.parameters,
        rows=rows,
        output_bytes=round(rows * _frame_bytes(spec) * facts.stored_share),
    )


def _download(rule: str) -> Callable[[Scope, Mapping[str, str]], Work]:
    """ASSUME: archives are compressed about as well as stores."""

    def work(scope: Scope, wildcards: Mapping[str, str]) -> Work:
        frame = _frame_bytes(preset(f"procgen-{next(iter(PROCGEN_GAMES))}"))
        return Work(output_bytes=round(PUBLISHED_FRAMES[rule] * frame * scope.rates.facts_of("pixels").stored_share))

    return work


def _import(kind: WorkKind) -> Callable[[Scope, Mapping[str, str]], Work]:
    """The rows of one split, or of all where one job makes them all."""

    def work(scope: Scope, wildcards: Mapping[str, str]) -> Work:
        spec = scope.experiment.environment(wildcards["env"])
        splits = [wildcards["split"]] if "split" in wildcards else ["train", "validation", "test"]
        rows = sum(scope.rows_of(spec.name, split) for split in splits)
        stored = rows * _frame_bytes(spec) * scope.facts_of(spec).stored_share
        return Work((Task(kind, rows),), rows=rows, output_bytes=round(stored))

    return work


def _lam(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    spec, settings = scope.experiment.environment(wildcards["env"]), scope.experiment.lams[wildcards["lam"]]
    size, training, supervision = lam_size(spec, settings), settings.training, settings.supervision
    tasks = [Task("lam_training", _samples(training), size.macs)]
    batch_macs, window = training.batch_size * size.macs, _window(scope, spec, training)
    if supervision is not None:  # its head is small beside the inverse dynamics model
        labelled = labelling_size(spec, settings).macs
        tasks.append(Task("lam_training", training.steps * supervision.batch_size, labelled))
        batch_macs += supervision.batch_size * labelled
        window += 3 * supervision.labels * _frame_bytes(spec)
    return Work(
        tuple(tasks),
        networks=size.parameters,
        batch_macs=batch_macs,
        window_bytes=window,
        rows=scope.most_rows_of(spec.name, "train"),
        output_bytes=4 * size.parameters,
    )


def _relabelling(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    spec, settings = scope.experiment.environment(wildcards["env"]), scope.experiment.lams[wildcards["lam"]]
    size = labelling_size(spec, settings)
    rows = scope.rows_of(spec.name, "train") + scope.rows_of(spec.name, "validation")
    quantizer = settings.quantizer
    tokens = quantizer.num_tokens
    latents = rows * (4 * quantizer.latent_dim + tokens)
    return Work(
        (Task("labelling", rows, size.macs),),
        networks=size.parameters,
        rows=rows,
        output_bytes=round(latents * scope.facts_of(spec).latents_share),
    )


def _decoders(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    """One decoder a label count and draw: a network, a table, or VPT's inverse dynamics model."""
    spec, method = scope.experiment.environment(wildcards["env"]), scope.experiment.methods[wildcards["method"]]
    members, rows = scope.experiment.num_agents(wildcards["method"]), scope.most_rows_of(wildcards["env"], "train")
    if isinstance(method, VptMethodSettings):
        training = method.decoder.training
        size = action_labeller_size(spec, method.inverse_dynamics, method.symmetry)
        return Work(
            (Task("cloning", members * training.steps * training.batch_size, size.macs),),
            networks=size.parameters,
            members=members * size.parameters,
            batch_macs=training.batch_size * size.macs,
            window_bytes=_window(scope, spec, training),
            rows=rows,
            output_bytes=4 * members * size.parameters,
        )
    fitting = _training_of(method.decoder) if isinstance(method, LatentMethodSettings) else None
    if not isinstance(method, LatentMethodSettings) or fitting is None:
        return Work(rows=rows)  # ASSUME: what is not trained in steps is as quick as a table
    observes, codes = method.decoder.sees_observation, method.target == "codes"
    quantizer, policy = scope.experiment.lams[method.lam].quantizer, policy_size(spec, *_latent_policy(scope, method))
    width = _latent_width(scope, method) + (method.policy.network.hidden_width if observes else 0)
    num_tokens = quantizer.num_tokens if codes else 0
    size = decoder_size(spec, method.decoder, width, num_tokens, quantizer.num_codes)
    tasks = [Task("decoder_training", members * fitting.steps * fitting.batch_size, size.macs)]
    if observes:
        tasks.append(Task("labelling", _labelled_rows(scope, spec), policy.macs))
    return Work(
        tuple(tasks),
        networks=policy.parameters if observes else 0,
        members=members * size.parameters,
        window_bytes=HELD_ROWS * (method.policy.context + 2) * _frame_bytes(spec) if observes else 0,
        rows=rows,
        output_bytes=4 * members * size.parameters,
    )


def _labelled_rows(scope: Scope, spec: EnvironmentSpec) -> int:
    """Transitions that all label counts and draws together may have."""
    rows = sum(LabelBudget.parse(labels).most_transitions(spec.max_steps) for labels in scope.experiment.labels)
    return rows * scope.experiment.label_draws


def _latent_width(scope: Scope, method: LatentMethodSettings) -> int:
    """What a latent method's decoder gets of the policy: a latent, or a distribution over the codes of each token."""
    quantizer = scope.experiment.lams[method.lam].quantizer
    codes = quantizer.num_tokens * quantizer.num_codes
    return codes if method.target == "codes" else quantizer.latent_dim


def _latent_policy(scope: Scope, method: LatentMethodSettings) -> tuple[PolicySettings, int, HeadSettings | None]:
    """Its settings, the width of what it answers, and its head."""
    return method.policy, _latent_width(scope, method), method.latent_head


def _training_of(settings: Settings) -> TrainingSettings | None:
    training = getattr(settings, "training", None)
    return training if isinstance(training, TrainingSettings) else None


def _policy(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    """One policy; of the baselines with few labels one a label count and draw, for VPT after its labels."""
    spec, method = scope.experiment.environment(wildcards["env"]), scope.experiment.methods[wildcards["method"]]
    members = scope.experiment.num_agents(wildcards["method"]) if method.policy_of_labels else 1
    answering = _policy_of(scope, spec, method)
    if answering is None:  # ASSUME: what another package trains is no larger than the smallest of ours
        return Work(rows=scope.most_rows_of(spec.name, "train"))
    training, size = answering[0].training, policy_size(spec, *answering)
    tasks = [Task("cloning", members * _samples(training), size.macs)]
    labeller = NetworkSize(0, 0)
    if isinstance(method, VptMethodSettings):
        labeller = action_labeller_size(spec, method.inverse_dynamics, method.symmetry)
        tasks.append(Task("labelling", members * scope.rows_of(spec.name, "train"), labeller.macs))
    return Work(
        tuple(tasks),
        networks=size.parameters,
        members=members * (size.parameters + labeller.parameters),
        batch_macs=training.batch_size * size.macs,
        window_bytes=_window(scope, spec, training),
        rows=scope.most_rows_of(spec.name, "train"),
        output_bytes=4 * members * size.parameters,
    )


def _evaluated_policy(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    """The same with the rollouts of every agent, so many times."""
    trained, played = _policy(scope, wildcards), _evaluation(scope, wildcards)
    evaluation = scope.experiment.evaluation
    share = evaluation.during_training / len(evaluation.splits)
    rollouts = tuple(task._replace(samples=task.samples * share) for task in played.tasks)
    return replace(trained, tasks=(*trained.tasks, *rollouts))


def _policy_of(
    scope: Scope, spec: EnvironmentSpec, method: MethodSettings
) -> tuple[PolicySettings, int, HeadSettings | None] | None:
    """The policy that a method clones, what it answers and its head; None where it clones none."""
    if isinstance(method, LatentMethodSettings):
        return _latent_policy(scope, method)
    policy = getattr(method, "policy", None)
    if not isinstance(policy, PolicySettings):
        return None
    return policy, action_outputs(known_actions(spec.action, spec.name), policy.box_loss), None


def _online_policy(scope: Scope, spec: EnvironmentSpec, method: OnlineMethodSettings) -> ActorCriticSize:
    tuned = scope.experiment.methods[method.of]
    assert isinstance(tuned, LatentMethodSettings)
    return online_policy_size(spec, method, tuned, _latent_width(scope, tuned), scope.experiment.lams[tuned.lam])


def _online(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    """PPO of a policy network: what is frozen is computed once a step, what is trained once more in each epoch, and thrice."""
    spec, method = scope.experiment.environment(wildcards["env"]), scope.experiment.methods[wildcards["method"]]
    assert isinstance(method, OnlineMethodSettings)
    tuned = scope.experiment.methods[method.of]
    assert isinstance(tuned, LatentMethodSettings)
    work = _ppo("online_decoding", method.ppo, _online_policy(scope, spec, method), also_kept=_frame_bytes(spec))
    labels = method.decoder.buffer_size * 4 * _latent_width(scope, tuned) if method.variant == "rl_sl" else 0
    return replace(work, window_bytes=work.window_bytes + labels)


def _agent(scope: Scope, spec: EnvironmentSpec, method: MethodSettings) -> NetworkSize:
    """What a method's agent computes at each step. ASSUME: what decodes its latents is small beside its network."""
    if isinstance(method, OnlineMethodSettings):
        online = _online_policy(scope, spec, method)
        return NetworkSize(online.macs, online.parameters)
    answering = _policy_of(scope, spec, method)
    return NetworkSize(0, 0) if answering is None else acting_size(spec, *answering)


def _evaluation(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    """Every agent of a method plays the levels of each split."""
    spec, method = scope.experiment.environment(wildcards["env"]), scope.experiment.methods[wildcards["method"]]
    agents, size = scope.experiment.num_agents(wildcards["method"]), _agent(scope, spec, method)
    networks = agents if method.policy_of_labels else 1
    played = map(scope.experiment.environment, scope.experiment.stores_behind(spec.name, "test"))
    length = sum(each.max_steps * scope.facts_of(each).agent_share for each in played)
    steps = agents * len(scope.experiment.evaluation.splits) * scope.experiment.evaluation.episodes * length
    return Work((Task("rollouts", steps, size.macs),), members=networks * size.parameters)


def _scores(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    """Every agent and decoder of a method answers the rows of the test split, which are labelled once."""
    spec, method = scope.experiment.environment(wildcards["env"]), scope.experiment.methods[wildcards["method"]]
    agents, size = scope.experiment.num_agents(wildcards["method"]), _agent(scope, spec, method)
    rows = scope.rows_of(spec.name, "test")
    tasks = [Task("rollouts", agents * rows, size.macs)]
    if isinstance(method, LatentMethodSettings):
        tasks.append(Task("labelling", rows, labelling_size(spec, scope.experiment.lams[method.lam]).macs))
    if isinstance(method, VptMethodSettings):
        labeller = action_labeller_size(spec, method.inverse_dynamics, method.symmetry)
        tasks.append(Task("labelling", agents * rows, labeller.macs))
    networks = agents if method.policy_of_labels else 1
    return Work(tuple(tasks), members=networks * size.parameters, rows=rows)


def _film(scope: Scope, wildcards: Mapping[str, str]) -> Work:
    """The agents on one level; the files of a method have all of its networks. ASSUME: those of the largest method."""
    methods = scope.experiment.methods_of(wildcards["env"])
    members = (_evaluation(scope, {**wildcards, "method": method}).members for method in methods)
    return Work(members=max(members, default=0))


STAGES: dict[str, Callable[[Scope, Mapping[str, str]], Work]] = {
    "train_expert": _expert,
    "train_pixel_expert": _pixel_expert,
    "measure_expert": _card,
    "collect_episodes": _collection,
    "download_lapo": _download("download_lapo"),
    "download_dgrl": _download("download_dgrl"),
    "import_lapo": _import("import"),
    "import_dgrl": _import("import"),
    "import_episodes": _import("decoding"),
    "train_lam": _lam,
    "relabel_episodes": _relabelling,
    "train_action_decoders": _decoders,
    "train_policy": _policy,
    "train_evaluated_policy": _evaluated_policy,
    "finetune_online": _online,
    "evaluate_agents": _evaluation,
    "score_actions": _scores,
    "plot_episode_film": _film,
}
"""By rule."""
