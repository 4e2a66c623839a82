"""The files that an agent is made of: found beside each other in the results of an experiment, or packed into a folder of their own."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lamflow
from lamflow.atomic_files import write_text
from lamflow.data.label_budgets import ALL_LABELS, LabelCount
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.settings import EvaluationSettings
from lamflow.experiment.artefacts import ARTEFACTS
from lamflow.methods.settings import MethodSettings, method_settings
from lamflow.policies.members import Member
from lamflow.policies.settings import ActionSelection
from lamflow.training.checkpoint import read_model

CARD = "lamflow_agent.json"
"""Another name than that of the neighbour of an online agent's file."""
FORMAT = "lamflow-agent-1"
MODEL = ".safetensors"
EVALUATION = "evaluation/{env}/{method}/seed{seed}/returns.json"
"""Says how the workflow's rollouts chose actions."""
WITHOUT_LABELS = Member(ALL_LABELS, 0)
"""The only member of a policy that learns no actions."""
KINDS_OF_FOLDER = ("policies", "decoders", "online", "evaluation")


@dataclass(frozen=True)
class AgentFiles:
    """A method's agents of one environment and seed, as their files say.

    ``models``: the files by artefact (``lamflow.experiment.artefacts``); ``members``: label budgets and draws that they hold, none where a
    method has no labels; ``chosen``: the one that a packed folder was made for.
    """

    spec: EnvironmentSpec
    method: str
    seed: int
    settings: MethodSettings
    action_selection: ActionSelection
    models: Mapping[str, Path] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    chosen: Member | None = None


def find_agent(folder: Path) -> AgentFiles:
    """The agent of a folder that ``pack_agent`` wrote, or of ``results/<experiment>/policies/<env>/<method>/seed<k>`` (or ``decoders``,
    ``online``, ``evaluation`` in place of ``policies``); ValueError where it is none, or lacks a file."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder, expected that of an agent")
    return _packed(folder) if folder.joinpath(CARD).is_file() else _in_results(folder)


def pack_agent(agent: AgentFiles, folder: Path, member: Member | None = None) -> Path:
    """Copy the files of an agent, with all its members, and a card into ``folder``; answers the card's path. ``member``: the one that
    acts where none is named. ValueError where the folder holds something else."""
    if folder.exists() and any(folder.iterdir()) and not folder.joinpath(CARD).is_file():
        raise ValueError(f"{folder}: found other files there, expected a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in agent.models.items():
        shutil.copyfile(path, folder / f"{name}{MODEL}")
        if (neighbour := path.with_suffix(".json")).is_file():
            shutil.copyfile(neighbour, folder / f"{name}.json")
    card = {
        "format": FORMAT,
        "lamflow": lamflow.__version__,
        "method": agent.method,
        "seed": agent.seed,
        "environment": agent.spec.facts(),
        "method_settings": agent.settings.model_dump(mode="json"),
        "action_selection": agent.action_selection,
        "models": {name: f"{name}{MODEL}" for name in agent.models},
        "chosen": [member.labels, member.label_draw] if member else None,
    }
    write_text(folder / CARD, json.dumps(card, indent=2) + "\n")
    return folder / CARD


def _packed(folder: Path) -> AgentFiles:
    path = folder / CARD
    card = _read_json(path)
    if card.get("format") != FORMAT:
        raise ValueError(f"{path}: found format {card.get('format')!r}, expected {FORMAT!r}: pack it with this version")
    try:
        found = AgentFiles(
            spec=EnvironmentSpec.from_facts(card["environment"]),
            method=card["method"],
            seed=card["seed"],
            settings=method_settings(card["method_settings"]),
            action_selection=card["action_selection"],
            models={name: folder / file for name, file in card["models"].items()},
            chosen=Member(*card["chosen"]) if card["chosen"] else None,
        )
    except KeyError as error:
        raise ValueError(f"{path}: has no {error}; pack the agent again") from None
    return _with_members(found, [read_model(file)[1] for file in found.models.values()])


def _in_results(folder: Path) -> AgentFiles:
    """By the layout of results."""
    names = folder.resolve().parts[-4:]
    seed = re.fullmatch(r"seed(\d+)", names[-1])
    if len(names) < 4 or names[0] not in KINDS_OF_FOLDER or not seed:
        raise ValueError(
            f"{folder}: found no {CARD}, expected a folder that `lamflow pack` wrote, or "
            "results/<experiment>/policies/<env>/<method>/seed<k>"
        )
    root, (_, env, method, _) = folder.resolve().parents[3], names
    wild: dict[str, Any] = {"env": env, "method": method, "seed": int(seed[1])}
    headers = _own_headers(root, wild)
    said = root / EVALUATION.format(**wild)
    rollouts = _read_json(said)["settings"] if said.is_file() else {}
    settings: dict[str, Any] = {}
    for header in headers:
        settings |= header.get("method_settings", {})
    settings |= rollouts.get("method", {})
    facts = next((each["environment"] for each in [*headers, rollouts] if "environment" in each), None)
    if facts is None or not settings:
        raise ValueError(
            f"{folder}: found no model file there or beside it that says its environment and method, expected one of "
            f"{', '.join(_own_paths(wild).values())} under {root}: run its rule, or run it again where an earlier version wrote it"
        )
    typed = method_settings(settings)
    evaluation = EvaluationSettings.model_validate(rollouts.get("evaluation", {}))
    found = AgentFiles(
        spec=EnvironmentSpec.from_facts(facts),
        method=method,
        seed=wild["seed"],
        settings=typed,
        action_selection=evaluation.action_selection,
        models=_needed(typed, root, wild),
    )
    return _with_members(found, [read_model(file)[1] for file in found.models.values()])


def _own_paths(wild: Mapping[str, Any]) -> dict[str, str]:
    """The model files that a method itself may have, from the folder of results."""
    own = {name: path for name, path in ARTEFACTS.items() if path.endswith(MODEL) and "{method}" in path}
    return {name: path.format(**wild) for name, path in own.items()}


def _own_headers(root: Path, wild: Mapping[str, Any]) -> list[dict[str, Any]]:
    paths = [root / path for path in _own_paths(wild).values()]
    return [read_model(path)[1] for path in paths if path.is_file()]


def _needed(settings: MethodSettings, root: Path, wild: Mapping[str, Any]) -> dict[str, Path]:
    """The model files that its agents are made of; ValueError where one is missing."""
    names = {**wild, "lam": settings.lam_name, "tuned": settings.tuned_name, "tuned_lam": None}
    models = {}
    for name in settings.needs("agent") or ():
        if not ARTEFACTS[name].endswith(MODEL):
            continue  # episodes, which say only who plays how well
        path = root / ARTEFACTS[name].format(**names)
        if not path.is_file():
            raise ValueError(
                f"{path}: not there, and the agents of method {wild['method']!r} need it: copy it too, or run its rule"
            )
        models[name] = path
    return models


def _with_members(agent: AgentFiles, headers: list[dict[str, Any]]) -> AgentFiles:
    """With the label budgets of the file that has most of them; one that learnt without labels has a single member, of all."""
    if not agent.settings.takes_labels:
        return agent
    held = [[Member(labels, draw) for labels, draw in header.get("members", [])] for header in headers]
    found = max(held, key=lambda members: (len(members), members != [WITHOUT_LABELS]), default=[])
    return replace(agent, members=tuple(found))


def label_counts(agent: AgentFiles) -> list[LabelCount]:
    """The label budgets of its members, each once."""
    return list(dict.fromkeys(member.labels for member in agent.members))


def label_draws(agent: AgentFiles) -> list[int]:
    """The draws of its members, each once."""
    return list(dict.fromkeys(member.label_draw for member in agent.members))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); make or copy it again") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: found no mapping, expected the facts of an agent; make or copy it again")
    return found
