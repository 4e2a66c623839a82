"""Checkpoints of a training run: atomic, self-describing, and refused when they belong to another run."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, safe_open, save_file
from torch import Tensor, nn

from lamflow.atomic_files import atomic_path
from lamflow.training.plain_state import from_plain, to_plain

KEPT_CHECKPOINTS = 2
_PREFIX = "checkpoint-"
_DIGEST_BYTES = hashlib.sha256().digest_size
_HEADER = "lamflow"
"""The one metadata key of a model file: with several, safetensors writes them in an order that varies."""


def random_states() -> dict[str, Any]:
    """The states of every random generator that training may draw from."""
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),  # noqa: NPY002 - libraries may still draw from it
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Set the generators back to ``random_states()``'s answer."""
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    random.setstate(states["python"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and Python."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: its sha256, then what torch.save makes of it. TypeError for what ``to_plain`` does not keep."""
    buffer = io.BytesIO()
    torch.save(to_plain(state), buffer)
    content = buffer.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(hashlib.sha256(content).digest() + content)


def load_checkpoint(path: Path, identity: str, parts: Collection[str] = ()) -> dict[str, Any] | None:
    """The checkpoint at ``path``, or None when there is none, it is damaged or lacks one of ``parts``, or it belongs to another
    run's ``identity``; the reason is printed.

    Nothing that a file holds is run: its digest proves that it is whole, and not who wrote it.
    """
    if not path.exists():
        return None
    try:
        written = path.read_bytes()
        digest, content = written[:_DIGEST_BYTES], written[_DIGEST_BYTES:]
        if digest != hashlib.sha256(content).digest():
            raise ValueError("its digest does not fit")
        state = from_plain(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
        if not isinstance(state, dict) or not isinstance(state.get("identity"), str):
            raise ValueError("it does not say whose it is")
        if state["identity"] == identity and (missing := [part for part in parts if part not in state]):
            raise ValueError(f"it lacks {', '.join(missing)}")
    except Exception as error:  # damage has many faces
        print(f"{path}: damaged checkpoint ({_reason(error)}); it is removed")
        return None
    if state["identity"] != identity:
        print(f"{path}: checkpoint of other settings, data or code; it is removed")
        return None
    return state


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "it holds more than tensors, numbers and text: of an earlier version of lamflow, or of another program"
    return " ".join(str(error).split())


class CheckpointFolder:
    """The last ``KEPT_CHECKPOINTS`` checkpoints of the run ``identity``, one file a step.

    OSError when the folder cannot be made or written, before any work is done.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self._identity = identity
        try:
            path.mkdir(parents=True, exist_ok=True)
            for abandoned in path.glob(f".{_PREFIX}*"):  # of a process that was killed while it wrote
                abandoned.unlink()
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise OSError(
                error.errno,
                f"checkpoints cannot be written here ({error.strerror}): make the folder writable, or choose another results "
                "folder",
                str(path),
            ) from error

    def resume(self, load: Callable[[dict[str, Any]], None], parts: Collection[str]) -> None:
        """Give ``load`` the newest checkpoint of this run that is whole and has all ``parts``, if there is one; those that cannot be
        used are removed.

        ValueError when ``load`` takes none of several that seemed whole: it may have changed what it loads into.
        """
        found, refused = self._files(), None
        for path in reversed(found):
            state = load_checkpoint(path, self._identity, parts)
            if state is not None:
                try:
                    load(state)
                    print(f"resumed from step {state['step']} of {path}")
                    return
                except Exception as error:
                    refused = f"{path}: damaged checkpoint ({type(error).__name__}: {_reason(error)}); it is removed"
                    print(refused)
            _remove(path)
        if refused:
            raise ValueError(f"{refused}, and there is no other: run the same command again, it begins at step 0")
        if found:
            print(f"{self.path}: no checkpoint of this run; starting from step 0")

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Add the checkpoint of ``step``, then remove all but the last ones. OSError when it cannot be written; the others stand then."""
        path = self.path / f"{_PREFIX}{step:010d}.pt"
        try:
            save_checkpoint(path, {"identity": self._identity, **state})
        except OSError as error:
            others = [str(other) for other in self._files()]
            raise OSError(
                error.errno,
                f"the checkpoint of step {step} could not be written ({error.strerror}); {', '.join(others) or 'no other'} is "
                "kept, from which the next attempt resumes: free disk space and run it again",
                str(path),
            ) from error
        for superseded in self._files()[:-KEPT_CHECKPOINTS]:
            _remove(superseded)

    def _files(self) -> list[Path]:
        return sorted(self.path.glob(f"{_PREFIX}*.pt"))


def remove_checkpoints(path: Path) -> None:
    """Remove the checkpoints under ``path``, which a finished stage needs no more; all else there stays."""
    for file in path.rglob(f"{_PREFIX}*.pt"):
        _remove(file)


def _remove(path: Path) -> None:
    """Also a folder that somebody has put in a checkpoint's place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def save_model(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write weights as safetensors, atomically; ``metadata`` (JSON-able) travels in the file's header.

    The same arguments give the same bytes.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(metadata)
    header = json.dumps({"digest": _digest(stored, text), "metadata": text})
    with atomic_path(path) as temporary:
        save_file(stored, temporary, metadata={_HEADER: header})


def read_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and metadata of a safetensors file; ValueError when it is missing or damaged."""
    if not Path(path).exists():
        raise ValueError(f"{path}: no such model file; run the rule that makes it first")
    try:
        with safe_open(path, framework="pt") as opened:
            header = json.loads(opened.metadata()[_HEADER])
        if "digest" not in header:
            raise ValueError("it has no digest: an earlier version wrote it, or another program")
        tensors, text = load_file(path), header["metadata"]
        intact = header["digest"] == _digest(tensors, text)
    except Exception as error:  # damage has many faces
        raise ValueError(f"{path}: damaged model file ({error}); delete it and run its rule again") from error
    if not intact:
        raise ValueError(f"{path}: damaged model file (its digest does not fit); delete it and run its rule again")
    return tensors, json.loads(text)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """sha256 of names, types, shapes and bytes of the tensors, and of the metadata."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
