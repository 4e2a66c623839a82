"""Checkpoints of a training run: atomic, self-describing, and refused when they belong to another run."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, safe_open, save_file
from torch import Tensor, nn

from lamflow.provenance import atomic_path


def random_states() -> dict[str, Any]:
    """The states of every random generator that training may draw from."""
    states: dict[str, Any] = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Set the generators back to ``random_states()``'s answer."""
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and Python."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """The checkpoint at ``path``, or None when there is none, it is unreadable, or it belongs to another run's ``identity``."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # a damaged file raises one of many types; training then starts over
        print(f"{path}: unreadable checkpoint ({type(error).__name__}: {error}); starting from step 0")
        return None
    if state.get("identity") != identity:
        print(f"{path}: checkpoint of other settings, data or code; starting from step 0")
        return None
    return state


def save_model(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write weights as safetensors, atomically; ``metadata`` (JSON-able) travels in the file's header."""
    with atomic_path(path) as temporary:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata={key: json.dumps(value) for key, value in metadata.items()},
        )


def read_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and metadata of a safetensors file; ValueError when it is missing or damaged."""
    if not Path(path).exists():
        raise ValueError(f"{path}: no such model file; run the rule that makes it first")
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = {key: json.loads(value) for key, value in (opened.metadata() or {}).items()}
        return load_file(path), metadata
    except Exception as error:
        raise ValueError(f"{path}: damaged model file ({error}); delete it and run its rule again") from error


def load_weights(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put weights into a module; ValueError lists what is missing, unexpected or of another shape."""
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    problems = [f"missing {name} {shape}" for name, shape in wanted.items() if name not in found]
    problems += [f"unexpected {name} {shape}" for name, shape in found.items() if name not in wanted]
    problems += [
        f"{name} has shape {found[name]}, expected {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    if problems:
        raise ValueError(
            f"{path}: checkpoint of another architecture ({len(problems)} differences): {'; '.join(problems[:5])}. "
            "Train it again with these settings."
        )
    module.load_state_dict(tensors)
