"""Stop 6, with rewards: a latent policy fine-tuned online, or PPO from scratch with its network."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lamflow.atomic_files import write_text
from lamflow.data.store import EpisodeStore
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.columns import CURVE_COLUMNS
from lamflow.evaluation.references import reference_returns
from lamflow.lam.learning import load_latent_action_model
from lamflow.policies.members import read_policies
from lamflow.policies.method_settings import LatentMethodSettings
from lamflow.provenance import file_digest, record_provenance, settings_digest
from lamflow.rl.demonstrator_settings import CollectionSettings
from lamflow.rl.experience import EpisodesBegun
from lamflow.rl.online import DecoderRefits, Levels, make_online_policy, train_online
from lamflow.rl.online_files import save_online_policy
from lamflow.rl.online_policies import FinetunedPolicy
from lamflow.rl.online_settings import OnlineMethodSettings
from lamflow.stages.code import stage_code
from lamflow.training.checkpoint import remove_checkpoints, seed_everything
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import default_device
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

    ``settings``: ``OnlineMethodSettings``; ``latent``: those of the latent method that it is ``of``. ``policy``: that
    method's policy file (not for scratch); ``lam``: its latent action model (rl_sl only); ``episodes``: a store of the environment, for
    the returns of random and demonstrator. ``curve`` (columns ``columns.CURVE_COLUMNS``) has a row a rollout. Resumes from
    ``state_dir``. With ``logging.wandb`` the run's files lie in ``experiment_dir`` (the output's folder if None).
    ValueError when a file is missing or of another environment or method.
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    env = spec.name
    typed = OnlineMethodSettings.model_validate(settings)
    tuned = LatentMethodSettings.model_validate(latent)
    played = CollectionSettings.model_validate(collection)
    given = {"episodes": episodes, "policy": policy, "lam": lam}
    inputs = {name: Path(path) for name, path in given.items() if path is not None}
    random, expert = reference_returns(EpisodeStore.open(episodes, env=env), spec)
    digests = {name: file_digest(path) for name, path in inputs.items()}
    levels = Levels(played.num_rulesets, all_levels=played.levels == "all" and spec.family == "procgen")
    described = [
        typed.model_dump(mode="json"),
        tuned.model_dump(mode="json"),
        asdict(levels),
        seed,
        digests,
    ]
    seed_everything(seed)
    latent_policy = None
    if typed.variant != "scratch":
        if policy is None:
            raise ValueError(f"method {method!r} fine-tunes the policy of {typed.of!r}; no policy file was given")
        latent_policy = read_policies(Path(policy), spec, method=typed.of, seed=seed)[1][0]
    model = None
    if typed.variant == "rl_sl":
        if lam is None:
            raise ValueError(f"method {method!r} labels by the LAM {tuned.lam!r}; no model file was given")
        model = load_latent_action_model(Path(lam), spec=spec, lam=tuned.lam, seed=seed)
    agent = make_online_policy(typed, tuned, spec, latent_policy, model).to(default_device())
    refits = None
    if model is not None:
        assert isinstance(agent, FinetunedPolicy)
        refits = DecoderRefits(agent, model, typed.decoder, steps_a_rollout=typed.ppo.steps_a_rollout, seed=seed)
    code = stage_code(__name__, spec, [typed, tuned, *([model.settings] if model else [])])
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
        typed.ppo,
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
    metadata = {"env": env, "method": method, "seed": seed, "variant": typed.variant}
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
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    for point in points:
        mean = f"{point.return_mean:.9g}" if point.episodes else ""
        writer.writerow([*run, point.env_steps, point.episodes, mean, *references])
    return buffer.getvalue()
