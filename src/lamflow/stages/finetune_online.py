"""Stop 6, with rewards: a latent policy fine-tuned online, or PPO from scratch with its network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lamflow.atomic_files import write_text
from lamflow.data.store import EpisodeStore
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.columns import CURVE_COLUMNS
from lamflow.evaluation.csv_text import csv_text
from lamflow.evaluation.references import reference_returns
from lamflow.methods.jobs import Job
from lamflow.methods.rewards import LearnsOnline
from lamflow.methods.settings import method_settings
from lamflow.provenance import file_digest, record_provenance, settings_digest
from lamflow.rl.demonstrator_settings import CollectionSettings
from lamflow.rl.experience import EpisodesBegun
from lamflow.rl.online import Levels, train_online
from lamflow.rl.online_files import save_online_policy
from lamflow.stages.code import method_code
from lamflow.training.checkpoint import remove_checkpoints
from lamflow.training.metrics import MetricsLog
from lamflow.training.settings import LoggingSettings
from lamflow.training.tracking import TrackedRun


def finetune_online(
    *,
    environment: Mapping[str, Any],
    method: str,
    settings: Mapping[str, Any],
    latent: Mapping[str, Any],
    collection: Mapping[str, Any],
    logging: Mapping[str, Any],
    seed: int,
    episodes: Path | str,
    policy: Path | str | None,
    lam: Path | str | None,
    output: Path | str,
    curve: Path | str,
    metrics: Path | str,
    state_dir: Path | str,
    experiment_dir: Path | str | None = None,
) -> None:
    """Train the policy of ``method`` with rewards on train levels.

    ``settings``: those of ``method``; ``latent``: those of the latent method that it is ``of``. ``policy``: that method's
    policy file (not for scratch); ``lam``: its latent action model (rl_sl only); ``episodes``: a store of the environment, for
    the returns of random and demonstrator. ``curve`` (columns ``columns.CURVE_COLUMNS``) has a row a rollout. Resumes from
    ``state_dir``. With ``logging.wandb`` the run's files lie in ``experiment_dir`` (the output's folder if None).
    ValueError when a file is missing or of another environment or method.
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    env = spec.name
    typed, tuned = method_settings(settings), method_settings(latent)
    played = CollectionSettings.model_validate(collection)
    given = {"episodes": episodes, "tuned_policy": policy, "tuned_lam": lam}
    inputs = {name: Path(path) for name, path in given.items() if path is not None}
    random, expert = reference_returns(EpisodeStore.open(episodes, env=env), spec)
    digests = {name: file_digest(path) for name, path in inputs.items()}
    levels = Levels(played.num_rulesets, all_levels=played.levels == "all" and spec.family == "procgen")
    described = [typed.model_dump(mode="json"), tuned.model_dump(mode="json"), asdict(levels), seed, digests]
    learner: LearnsOnline = typed.build()
    training = learner.online(Job(method, spec, seed, inputs), tuned)
    agent, refits = training.policy, training.refits
    code = method_code(__name__, typed, "online", spec, [tuned.parts("policy"), *filter(None, [training.lam])])
    identity = settings_digest([*described, code.digest])
    settings_given = {"method": settings, "latent": latent, "collection": collection}
    log = MetricsLog(
        LoggingSettings.model_validate(logging),
        TrackedRun(
            experiment_dir=Path(experiment_dir or Path(output).parent),
            kind="online",
            name=f"online/{env}/{method}/seed{seed}",
            identity=identity,
            code=code,
            settings=settings_given,
            inputs=digests,
            env=env,
            method=method,
            seed=seed,
        ),
    )
    points = train_online(
        agent,
        training.settings,
        seed=seed,
        levels=levels,
        refits=refits,
        metrics=log,
        state_dir=Path(state_dir),
        identity=identity,
        title=f"{method} on {env}, seed {seed}",
    )
    log.finish()
    log.write(Path(metrics))
    write_text(Path(curve), _table(points, [env, method, seed], [random, expert]))
    metadata = {"env": env, "method": method, "seed": seed, **training.header}
    read = typed.model_dump(mode="json", exclude=set(typed.unread("online")))
    metadata |= {"environment": spec.facts(), "method_settings": read}
    save_online_policy(Path(output), agent, metadata)
    for path in (Path(output), Path(curve)):
        record_provenance(
            path,
            code=code,
            settings=settings_given,
            inputs=inputs,
            seed=seed,
            wall_seconds=time.monotonic() - started,
            precision=[log.precision, *(refits.precision.values() if refits else ())],
        )
    remove_checkpoints(Path(state_dir))


def _table(points: Sequence[EpisodesBegun], run: Sequence[Any], references: Sequence[float]) -> str:
    """The rows of curve.csv; ``run``: environment, method and seed."""
    means = [f"{point.return_mean:.9g}" if point.episodes else "" for point in points]
    rows = zip(points, means, strict=True)
    return csv_text(CURVE_COLUMNS, ([*run, point.env_steps, point.episodes, mean, *references] for point, mean in rows))
