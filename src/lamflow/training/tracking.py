"""Weights & Biases beside the metrics files: a run per training that says what was trained, and one per experiment.

A tracker changes no result and ends no stage: what it cannot do is said once, and the stage goes on without it.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from lamflow.atomic_files import write_text
from lamflow.code_digests import Code
from lamflow.provenance import origin, settings_digest
from lamflow.training.settings import LoggingSettings

RERUNS_NOTHING = "It sends curves elsewhere and changes none."

KEPT_VARIABLES = frozenset(
    f"WANDB_{name}"
    for name in (
        "API_KEY",
        "BASE_URL",
        "CACHE_DIR",
        "CONFIG_DIR",
        "CREDENTIALS_FILE",
        "DATA_DIR",
        "ENTITY",
        "FILE_PUSHER_TIMEOUT",
        "HTTP_TIMEOUT",
        "IDENTITY_TOKEN_FILE",
        "INSECURE_DISABLE_SSL",
    )
)
"""Variables of the caller that count: who logs in, where, and how long a request may take. All others are set aside, since they
would rename, regroup, merge or move runs."""
COMMAND_VARIABLE = "LAMFLOW_COMMAND"
"""What was typed to start the workflow, which its jobs inherit."""
START_SECONDS, CALL_SECONDS, FINISH_SECONDS = 90.0, 60.0, 20.0
"""Limits of starting a run, of sending something, and of uploading what is left at its end; files on disk stay."""
LONGEST_TAG = 64
"""Characters that Weights & Biases takes."""


@dataclass(frozen=True)
class TrackedRun:
    """What a run is of.

    ``name``: the training's folder under ``experiment_dir``, such as ``lam/<env>/<lam>/seed0``; ``identity``: a digest of what the
    training depends on, so that one of other settings, data or code is another run; ``inputs``: digests of what it reads. A folder
    of several trainings has a run per ``part`` (which, of how many), told apart by ``part_name`` and ``part_facts``.
    """

    experiment_dir: Path
    kind: Literal["lam", "policy", "expert", "online", "experiment"]
    name: str
    identity: str
    code: Code
    settings: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    env: str | None = None
    lam: str | None = None
    method: str | None = None
    seed: int | None = None
    part: tuple[int, int] = (0, 1)
    part_name: str = ""
    part_facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def experiment(self) -> str:
        return self.experiment_dir.resolve().name

    @property
    def folder(self) -> Path:
        """Where everything of Weights & Biases lies."""
        return self.experiment_dir / "wandb"

    @property
    def record(self) -> Path:
        """The file that says that the run has the training's whole curves."""
        return self.folder / "runs" / self.name / f"{self.part[0]}.json"

    def run_id(self) -> str:
        """The same for each attempt at this training, and another one in any other results folder. OSError when that cannot be
        written."""
        return settings_digest([folder_id(self.folder), self.experiment, self.name, self.part_name, self.identity])

    def init_arguments(self) -> dict[str, Any]:
        """What ``wandb.init`` is told of it."""
        seed = None if self.seed is None else f"seed{self.seed}"
        tags = [self.experiment, self.env, self.lam, self.method, seed, self.part_name]
        named = {"env": self.env, "lam": self.lam, "method": self.method, "seed": self.seed}
        config = {
            "experiment": self.experiment,
            "kind": self.kind,
            **{name: value for name, value in named.items() if value is not None},
            **self.part_facts,
            "settings": dict(self.settings),
            "inputs": dict(self.inputs),
            "stage": self.code.stage,
            "code_digest": self.code.digest,
            **origin(),
            "command": typed_command(),
        }
        return {
            "id": self.run_id(),
            "name": "/".join(filter(None, [self.name, self.part_name])),
            "group": "/".join(filter(None, [self.experiment, self.env])),
            "job_type": self.kind,
            "tags": list(dict.fromkeys(tag[:LONGEST_TAG] for tag in tags if tag)),
            "config": config,
            "dir": str(self.experiment_dir),
        }


def typed_command() -> str:
    """The command that started the workflow, or this process where there is none."""
    return os.environ.get(COMMAND_VARIABLE) or shlex.join(sys.argv)


def folder_id(folder: Path) -> str:
    """A random name of a results folder, which lies in it and goes with it; made when it is first asked for."""
    path = folder / "folder_id"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        own = folder / f".folder_id-{secrets.token_hex(8)}"
        own.write_text(secrets.token_hex(16), encoding="utf-8")
        with suppress(FileExistsError):
            os.link(own, path)  # Unlike a rename, the first of several processes wins.
        own.unlink()
    return path.read_text(encoding="utf-8")


class Tracker:
    """A run at Weights & Biases; one that fails, or does not answer in time, is given up."""

    given_up = False  # for the whole process: what a training cannot reach, its next one need not wait for

    def __init__(self, settings: LoggingSettings, run: TrackedRun) -> None:
        self.run = run
        self.id = ""
        self.error = ""
        self._settings = settings
        self._service: list[psutil.Process] = []
        self._wandb_run: Any = None
        self._first_step = 0
        self._begun = False
        if not Tracker.given_up:
            self.attempt(self._start, START_SECONDS)
        else:
            self.error = "given up before"

    @property
    def active(self) -> bool:
        """Whether there is a run to send to."""
        return self._wandb_run is not None and not self.error

    def attempt(self, call: Callable[[], object], seconds: float | None = None) -> bool:
        """Whether ``call`` ended well within so many seconds (None: CALL_SECONDS); if not, the tracker is given up."""
        try:
            _within(CALL_SECONDS if seconds is None else seconds, call)
        except (Exception, SystemExit) as error:
            self._give_up(error)
            return False
        return True

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values of a step, unless an attempt before this one has sent them."""
        if self.active and step >= self._first_step:
            self.attempt(lambda: self._send(dict(values), step))

    def show(self, values: Callable[[], Mapping[str, Any]]) -> bool:
        """Send the values (also tables and figures) that ``values`` makes; whether that went well."""
        return self.active and self.attempt(lambda: self._send(dict(values()), None))

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Set what stands beside the run in lists of runs."""
        if self.active:
            self.attempt(lambda: self._wandb_run.summary.update(dict(values)))

    def finish(self, curves: str = "") -> None:
        """Close the run, and record that it has the ``curves`` of that digest."""
        if not self.active or not self.attempt(self._wandb_run.finish, 2 * FINISH_SECONDS):
            return
        self._wandb_run = None
        if curves:
            index, parts = self.run.part
            facts = {"id": self.id, "identity": self.run.identity, "part": index, "parts": parts, "curves": curves}
            self.attempt(lambda: write_text(self.run.record, json.dumps(facts, indent=2) + "\n"))

    def _start(self) -> None:
        self.run.record.unlink(missing_ok=True)
        arguments = self.run.init_arguments()
        self.id = arguments["id"]
        before = _services()
        with _environment(self.run.folder):
            import wandb

            try:
                self._wandb_run = wandb.init(
                    **arguments,
                    project=self._settings.wandb_project,
                    mode=self._settings.wandb_mode,
                    resume="allow",
                    reinit="create_new",
                    settings=wandb.Settings(
                        console="off",
                        disable_git=True,  # the commit is in the config, as provenance knows it
                        finish_timeout=FINISH_SECONDS,
                        finish_timeout_raises=True,
                        init_timeout=START_SECONDS / 2,
                        allow_offline_artifacts=False,
                        silent=True,
                        stop_fn=_do_not_stop,
                        symlink=False,
                    ),
                )
            finally:
                self._service = [process for process in _services() if process not in before]
        self._first_step = self._wandb_run.step
        print(f"Weights & Biases: run {self.id} ({self._settings.wandb_mode}), files in {self.run.folder}", flush=True)

    def _send(self, values: dict[str, Any], step: int | None) -> None:
        if not self._begun:
            self._remove_earlier_attempts()
            self._begun = True
        self._wandb_run.log(values, step=step)

    def _remove_earlier_attempts(self) -> None:
        """This one sends all of what they sent: their files would say it twice."""
        own = Path(self._wandb_run.dir).resolve().parent
        for folder in self.run.folder.glob(f"offline-run-*-{self.id}"):
            if folder.resolve() != own:
                shutil.rmtree(folder, ignore_errors=True)

    def _give_up(self, error: BaseException) -> None:
        self.error = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        Tracker.given_up = True
        print(
            f"Weights & Biases: {self.error}; {self.run.name} goes on without it. Results do not suffer. What has been written can be "
            f"sent by `wandb sync` of the run's folder in {self.run.folder}",
            file=sys.stderr,
            flush=True,
        )
        if not self._service:
            return
        for process in self._service:
            with suppress(psutil.Error):
                process.kill()  # else the end of this process would wait for it
        with suppress(Exception):
            import wandb

            _within(5, wandb.teardown)


def _do_not_stop() -> None:
    print("Weights & Biases: a training is not stopped from there; interrupt Snakemake", flush=True)


def _services() -> list[psutil.Process]:
    """The processes that wandb has started from this one."""
    return [process for process in psutil.Process().children() if process.name().startswith("wandb-core")]


def _within(seconds: float, call: Callable[[], object]) -> None:
    """Make the call in a thread of its own. TimeoutError when it takes longer; it is then left to itself."""
    outcome: Future[object] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        outcome.result(timeout=seconds)
    except TimeoutError as error:
        raise TimeoutError(str(error) or f"no answer in {seconds:.0f} s") from None


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Variables as wandb is to see them: ``KEPT_VARIABLES``, and caches in ``folder`` unless those say otherwise."""
    aside = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith("WANDB_") and name not in KEPT_VARIABLES
    }
    places = {"WANDB_CACHE_DIR": str(folder / "cache"), "WANDB_DATA_DIR": str(folder / "cache")}
    added = {name: place for name, place in places.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        os.environ.update(aside)
