"""Trained models as graphs that run without lamflow: ONNX, and programs of ``torch.export``.

Encoder and forward dynamics model of a latent action model, and an agent's policy with its decoder, each as one graph. Inputs are what
stores hold, any number of rows at once; normalisation, symmetries and quantisers are inside. All is computed in float32. Drawing an action
is left to the caller: graphs hold nothing random. Next to the graphs a JSON file tells what they take and answer.

Shapes: B batch, T positions of a window, K context observations, D latent width, Q codes of a latent, A actions, F recurrent state.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

import lamflow
from lamflow.atomic_files import atomic_path, write_text
from lamflow.data.windows import FRAMES, Window
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.model import LatentActionModel
from lamflow.policies.agents import Agent, PolicyAgent
from lamflow.policies.decoders import DecodeApart
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.latent_heads import LatentHead
from lamflow.policies.members import Member
from lamflow.policies.network import PolicyNetwork
from lamflow.spaces import Part
from lamflow.training.precision import Precision

SUFFIXES: Mapping[str, str] = {"onnx": ".onnx", "torch": ".pt2"}
"""Of the files of each format."""
FORMATS = tuple(SUFFIXES)
PACKAGES: Mapping[str, str] = {"onnx": "1.23.2", "onnxscript": "0.7.2"}
"""What writes ONNX, in the versions of the extra ``export``; what runs it is the caller's choice."""
EXAMPLE_ROWS = 2
"""Rows of the batch that a graph is traced with; it then takes any number."""
BATCH = "batch"
DESCRIPTION = "_graphs.json"
RECURRENT = "recurrent_state"


@dataclass(frozen=True)
class Graph:
    """A module of positional tensors that answers tensors by name, and zeros [EXAMPLE_ROWS, ...] of each of its inputs."""

    name: str
    module: nn.Module
    examples: Mapping[str, Tensor]


def export_lam(
    model: LatentActionModel,
    folder: Path | str,
    *,
    formats: Sequence[str] = FORMATS,
    about: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write ``encoder``, ``forward_dynamics`` and ``lam_graphs.json`` to ``folder``; the paths, the JSON file last.

    encoder: frames [B, T, ...] to ``latents`` float32 [B, D] before quantisation and, where there are codes, ``quantized`` float32 [B, D]
    and ``codes`` int64 [B, Q]. forward_dynamics: frames [B, T', ...] up to the present one, and latents as the model has quantised them,
    to the most likely next ``frame``, and what that is made of: ``prediction``, or ``prediction_0``, ``prediction_1`` (see
    ``LatentActionModel.predicted``). ``about``: what else the JSON file says.

    ValueError when a format is unknown, its packages are missing, or the model cannot be made a graph.
    """
    model = _plain(model)
    columns = [column for column in model.window.columns if column != FRAMES]
    if columns:
        raise ValueError(
            f"{_called(model)} reads {', '.join(columns)} beside frames, and only frames can be an input of its graph"
        )
    spec, window = model.spec, model.window
    num_frames = window.before + 1 + window.after + bool(window.ahead)
    latents = torch.zeros(EXAMPLE_ROWS, model.settings.quantizer.latent_dim)
    graphs = [
        Graph("encoder", _Encoder(model), {"frames": _zeros(spec.main_part, num_frames)}),
        Graph(
            "forward_dynamics",
            _ForwardDynamics(model),
            {"frames": _zeros(spec.main_part, window.before + 1), "latents": latents},
        ),
    ]
    facts = {
        "kind": "lam",
        "settings": model.settings.model_dump(mode="json"),
        "window": {"before": window.before, "after": num_frames - 1 - window.before},
        "num_codes": model.settings.quantizer.num_codes,
    }
    return _write(graphs, Path(folder), "lam", formats, spec, {**facts, **(about or {})}, _called(model))


def export_agent(
    agent: Agent,
    folder: Path | str,
    *,
    spec: EnvironmentSpec,
    member: Member,
    place: int = 0,
    formats: Sequence[str] = FORMATS,
    about: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write ``agent`` and ``agent_graphs.json`` to ``folder``; the paths, the JSON file last. Of an agent of several members it is the one
    at ``place``, whose labels ``member`` says.

    Inputs are ``observation/<part>`` [B, K, ...] for each part of an observation, the present one last; before an episode's begin its
    first observation is repeated. Outputs are the most likely ``action`` [B, ...], and what others are drawn from: ``probabilities`` and
    their logarithms ``logits`` [B, A], or of continuous actions ``mean`` and ``deviation`` [B, A] of a Gaussian, before clipping to the
    space. A recurrent agent has K = 1 and takes and answers its state [B, F], which begins at 0.

    ValueError as ``export_lam``.
    """
    if not isinstance(agent, PolicyAgent):
        raise ValueError(
            f"{type(agent).__name__} of {spec.name} cannot be exported: it is no agent whose networks answer by themselves"
        )
    module = _Agent(agent, place, spec)
    examples = {f"observation/{name}": _zeros(part, module.context) for name, part in spec.observation.items()}
    if module.recurrent:
        examples[RECURRENT] = torch.zeros(EXAMPLE_ROWS, module.state_width)
    facts = {
        "kind": "agent",
        "labels": member.labels,
        "label_draw": member.label_draw,
        "action_selection": agent.action_selection,
        "context": module.context,
        "recurrent": module.recurrent,
    }
    what = f"the agent of {spec.name}, a {type(module.network).__name__}{module.details},"
    return _write(
        [Graph("agent", module, examples)], Path(folder), "agent", formats, spec, {**facts, **(about or {})}, what
    )


def _called(model: LatentActionModel) -> str:
    return f"the {type(model).__name__} of {model.spec.name}"


def _plain(module: Any) -> Any:
    """A copy on the CPU that does not learn, whose weights lie in memory as those of other programs do."""
    copied = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    return nn.utils.convert_conv2d_weight_memory_format(copied, torch.contiguous_format)


def _zeros(part: Part, positions: int) -> Tensor:
    """[EXAMPLE_ROWS, positions, ...] of a part of observations."""
    return torch.zeros(EXAMPLE_ROWS, positions, *part.shape, dtype=getattr(torch, part.dtype))


class _Encoder(nn.Module):
    """Frames to latents and codes."""

    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        found = self.model.label(Window.of_frames(inputs[0], present=self.model.window.before))
        if not self.model.settings.quantizer.num_tokens:
            return {"latents": found.continuous}
        return {"latents": found.continuous, "quantized": found.quantized, "codes": found.codes}


class _ForwardDynamics(nn.Module):
    """Frames up to the present one, and latents, to the next frame."""

    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        frames, latents_BD = inputs
        window = Window.of_frames(frames, present=self.model.window.before)
        frame, outputs = self.model.predicted(window, latents_BD)
        names = ["prediction"] if len(outputs) == 1 else [f"prediction_{index}" for index in range(len(outputs))]
        return {"frame": frame, **dict(zip(names, outputs, strict=True))}


class _Agent(nn.Module):
    """What one member of an agent does with what it has seen, up to the choice of an action."""

    network: Any

    def __init__(self, agent: PolicyAgent, member: int, spec: EnvironmentSpec) -> None:
        super().__init__()
        if not isinstance(agent.decode, DecodeApart):
            raise ValueError(
                f"the decoders of the agent of {spec.name}, a {type(agent.decode).__name__}, cannot be exported: expected `of_member`, "
                "which gives that of one member as a module (lamflow.policies.decoders.DecodeApart)"
            )
        shared = len(agent.networks) == 1
        self.network = _plain(agent.networks[0 if shared else member])
        if self.head is not None and self.head.is_random:
            raise ValueError(
                f"the agent of {spec.name} cannot be exported: its {type(self.head).__name__} draws latents at random, and a graph holds "
                "nothing random; take one of target latent, mixture or codes"
            )
        self.decoder = _plain(agent.decode.of_member(member))
        self.agent = copy.copy(agent)
        self.agent.precision, self.agent.device = Precision("float32", "exported"), torch.device("cpu")
        self.parts = tuple(spec.observation)
        settings = self.network.settings
        self.recurrent = bool(settings.recurrent)
        self.context = 1 if settings.recurrent else int(settings.context)
        self.state_width = int(settings.network.hidden_width)

    @property
    def details(self) -> str:
        """What an error says of it."""
        return "" if self.head is None else f" with a {type(self.head).__name__}"

    @property
    def head(self) -> LatentHead | None:
        """The distribution over latents that the policy answers, where it has one."""
        return self.network.head if isinstance(self.network, PolicyNetwork) else None

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        parts = dict(zip(self.parts, inputs, strict=False))
        batch, context = inputs[0].shape[:2]
        begun = torch.ones(batch, context, dtype=torch.bool)
        state_BF = inputs[-1] if self.recurrent else torch.zeros(batch, 0)
        weights_BS, decoded_BSO, state_BF = self.agent.run(self.network, PolicyInputs(parts, begun), state_BF)
        answers = self.decoder(decoded_BSO.flatten(0, 1)).unflatten(0, (-1, decoded_BSO.shape[1]))
        space = self.agent.space
        mean = space.average(weights_BS, answers)
        found = {"action": space.choose(mean, "argmax", self.agent.generator), **space.told(mean)}
        return {**found, f"next_{RECURRENT}": state_BF} if self.recurrent else found


def _write(
    graphs: Sequence[Graph],
    folder: Path,
    name: str,
    formats: Sequence[str],
    spec: EnvironmentSpec,
    facts: Mapping[str, Any],
    what: str,
) -> list[Path]:
    """Each graph in each format, and the JSON file that describes them. ValueError, before anything is written, names what cannot be."""
    _check(formats)
    writers: Mapping[str, Callable[[Graph, ExportedProgram, Path], None]] = {"onnx": _write_onnx, "torch": _write_torch}
    programs = [_traced(graph, what) for graph in graphs]
    paths, described = [], {}
    for graph, program in zip(graphs, programs, strict=True):
        files = {format_: f"{graph.name}{SUFFIXES[format_]}" for format_ in formats}
        for format_, file in files.items():
            writers[format_](graph, program, folder / file)
            paths.append(folder / file)
        described[graph.name] = {"files": files, **_described(graph, program)}
    told = {**facts, "lamflow": lamflow.__version__, "environment": spec.facts(), "graphs": described}
    write_text(folder / f"{name}{DESCRIPTION}", json.dumps(told, indent=2) + "\n")
    return [*paths, folder / f"{name}{DESCRIPTION}"]


def _check(formats: Sequence[str]) -> None:
    unknown = [name for name in formats if name not in SUFFIXES]
    if unknown or not formats:
        raise ValueError(f"formats: found {', '.join(unknown) or 'none'}, expected some of {', '.join(FORMATS)}")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if "onnx" in formats and missing:
        pins = " ".join(f"{name}=={version}" for name, version in PACKAGES.items())
        raise ValueError(
            f"formats: onnx needs {' and '.join(missing)}, which this Python has not: `python -m pip install {pins}` "
            "(the extra `export`), or take the format torch alone"
        )


def _traced(graph: Graph, what: str) -> ExportedProgram:
    """The graph's program, for any number of rows; ValueError when it cannot be traced, or draws at random."""
    batch = Dim(BATCH, min=1)
    shapes = {"inputs": tuple({0: batch} for _ in graph.examples)}
    try:
        with torch.no_grad():
            program = torch.export.export(graph.module, tuple(graph.examples.values()), dynamic_shapes=shapes)
    except Exception as error:  # whatever the code of a component does that no graph can
        raise ValueError(f"{what} cannot be exported: {_first_line(error)}") from error
    graphs = [
        module.graph for module in program.graph_module.modules() if isinstance(module, GraphModule)
    ]  # autocast nests them
    random = [str(node.target) for nodes in graphs for node in nodes.nodes if _is_random(node.target)]
    if random:
        raise ValueError(f"{what} cannot be exported: it draws at random inside ({random[0]})")
    return program


def _is_random(target: object) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _write_torch(graph: Graph, program: ExportedProgram, path: Path) -> None:
    with atomic_path(path) as temporary:
        torch.export.save(program, temporary)


def _write_onnx(graph: Graph, program: ExportedProgram, path: Path) -> None:
    with _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        written = torch.onnx.export(
            program, input_names=list(graph.examples), output_names=list(_outputs(program)), verbose=False
        )
    assert written is not None
    for value in (*written.model.graph.inputs, *written.model.graph.outputs):
        value.shape = type(value.shape)([BATCH, *value.shape[1:]])
    with atomic_path(path) as temporary:
        written.save(temporary)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Without the warnings of packages of which nothing is wanted (torchvision's operators are not installed)."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _outputs(program: ExportedProgram) -> dict[str, Tensor]:
    """What the program answers, without values, by name."""
    names = program.call_spec.out_spec.context
    values = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    found = [values[specified.arg.name] for specified in program.graph_signature.output_specs]
    return dict(zip(names, found, strict=True))


def _described(graph: Graph, program: ExportedProgram) -> dict[str, Any]:
    """Names, types and shapes of inputs and outputs, in their order."""
    return {
        key: [
            {
                "name": name,
                "dtype": str(value.dtype).removeprefix("torch."),
                "shape": [BATCH, *map(int, value.shape[1:])],
            }
            for name, value in values.items()
        ]
        for key, values in (("inputs", graph.examples), ("outputs", _outputs(program)))
    }
