"""Exported graphs answer what the library answers, for any number of rows: in torch, and in onnxruntime where that is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from linear_world import SETTINGS as VECTORS
from linear_world import SPEC as LINEAR
from linear_world import random_frames
from numpy.typing import NDArray
from torch import Tensor

from lamflow import exporting
from lamflow.data.windows import Window
from lamflow.envs.interface import Observation
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.tiles import AGENT_TILE
from lamflow.exporting import export_agent, export_lam
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.networks.perceptron import mlp
from lamflow.networks.vectors import Standardised
from lamflow.policies.actions import BoxActions, actions_of
from lamflow.policies.agents import AgentState, PolicyAgent, RandomAgent
from lamflow.policies.decoders import Decode, no_decode
from lamflow.policies.dictionary_decoder import table_decode
from lamflow.policies.flow_settings import FlowSettings
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.members import Member
from lamflow.policies.mixture_settings import MixtureSettings
from lamflow.policies.mlp_decoder import mlp_decode
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings
from lamflow.spaces import Categories, Discrete, Pixels, Vector
from lamflow.training.precision import Precision

ROOT = Path(__file__).parents[1]
FULL, RULES = preset("xland-empty-random-8x8-full"), preset("xland-r1-9x9")
PIXELS = EnvironmentSpec(
    name="pictures",
    family="gymnasium",
    observation={"picture": Pixels((18, 18, 3)), "pose": Vector((2,))},
    main="picture",
    action=Discrete(5),
    max_steps=10,
)
"""Their sides are no multiple of a patch."""
SMALL = {"width": 8, "layers": 2, "hidden_width": 16}
PATCHES = {"kind": "impala", "stem": "patch", "channels": [4, 4], "blocks": 1, "hidden_width": 8}
CODES = {"codebooks": 2, "tokens": 2, "code_dim": 2, "codes": 8}
CONTINUOUS = {"kind": "none", "codebooks": 1, "tokens": 1, "code_dim": 4}
LAMS: dict[str, tuple[EnvironmentSpec, dict[str, Any]]] = {
    "grid": (FULL, {"inverse_dynamics": SMALL, "forward_dynamics": SMALL, "quantizer": CODES}),
    "turned grid": (
        FULL,
        {
            "inverse_dynamics": SMALL,
            "forward_dynamics": SMALL,
            "quantizer": {"kind": "fsq", "levels": [4, 3], "tokens": 2},
            "normalise": True,
            "symmetry": "rotation",
            "context": 2,
        },
    ),
    "patches": (
        PIXELS,
        {
            "inverse_dynamics": PATCHES,
            "forward_dynamics": {"kind": "unet", "stem": "patch", "base_width": 4, "target": "standardised"},
            "quantizer": CODES,
        },
    ),
    "pixels": (
        PIXELS,
        {
            "inverse_dynamics": {"kind": "impala", "channels": [4, 4], "scale": 1, "blocks": 1, "hidden_width": 8},
            "forward_dynamics": {"kind": "unet", "base_width": 2, "target": "frame"},
            "quantizer": CONTINUOUS,
        },
    ),
    "vectors": (LINEAR, VECTORS | {"quantizer": CODES}),
}
Run = Callable[..., dict[str, NDArray[Any]]]
"""Takes the inputs of a graph in their order, and answers its outputs by name."""
FORMATS = ("torch", "onnx")


@pytest.fixture(params=FORMATS)
def format_(request: pytest.FixtureRequest) -> str:
    """Each format that can be run here."""
    if request.param == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(
                package, reason=f"{package} of the extra `export` is not installed: docs/dependencies.md"
            )
    return str(request.param)


def loaded(folder: Path, described: Mapping[str, Any], format_: str) -> Run:
    """A graph as somebody without lamflow runs it: by its file and what the JSON file says of it."""
    path, names = folder / described["files"][format_], [each["name"] for each in described["inputs"]]
    if format_ == "torch":
        program = torch.export.load(path).module()
        return lambda *inputs: {name: value.detach().numpy() for name, value in program(*inputs).items()}
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    assert [each.name for each in session.get_inputs()] == names
    outputs = [each.name for each in session.get_outputs()]
    assert outputs == [each["name"] for each in described["outputs"]]

    def run(*inputs: Tensor) -> dict[str, NDArray[Any]]:
        fed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return dict(zip(outputs, session.run(None, fed), strict=True))

    return run


def check_equal(found: Mapping[str, NDArray[Any]], described: Mapping[str, Any], **expected: Tensor) -> None:
    """Integers are equal, numbers to rounding; types and shapes are those that the JSON file tells."""
    assert list(found) == [each["name"] for each in described["outputs"]] and set(expected) <= set(found)
    for each in described["outputs"]:
        value = found[each["name"]]
        assert str(value.dtype) == each["dtype"] and list(value.shape[1:]) == each["shape"][1:]
    for name, wanted in expected.items():
        if wanted.is_floating_point():
            np.testing.assert_allclose(
                found[name], wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()), err_msg=name
            )
        else:
            np.testing.assert_array_equal(found[name], wanted, err_msg=name)


def frames_of(spec: EnvironmentSpec, *shape: int) -> Tensor:
    """Random ones [*shape, ...]; full views show one agent."""
    if spec.main_part.kind == "pixels":
        return torch.randint(256, (*shape, *spec.frame_shape)).to(torch.uint8)
    if spec.main_part.kind == "vector":
        return random_frames(int(np.prod(shape)), 1).unflatten(0, shape)[..., 0, :]
    frames = torch.stack([torch.randint(9, (*shape, *spec.frame_shape[:2])) for _ in range(2)], dim=-1).to(torch.uint8)
    frames[..., 3, 2, 0] = (AGENT_TILE + torch.randint(4, shape)).to(torch.uint8)
    return frames


def make_lam(case: str) -> OneStepLam:
    """A model whose statistics are not those that it begins with."""
    spec, settings = LAMS[case]
    torch.manual_seed(0)
    model = OneStepLam(settings=OneStepSettings.model_validate(settings), spec=spec)
    for module in model.modules():
        if isinstance(module, Standardised):
            module.mean.normal_()
            module.deviation.uniform_(0.5, 2)
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("case", LAMS)
def test_a_latent_action_model_answers_the_same(case: str, format_: str, tmp_path: Path) -> None:
    model = make_lam(case)
    *files, told = export_lam(model, tmp_path, formats=[format_])
    assert all(path.exists() for path in files)
    facts = json.loads(told.read_text())
    assert EnvironmentSpec.from_facts(facts["environment"]) == model.spec and facts["kind"] == "lam"
    encoder, dynamics = (facts["graphs"][name] for name in ("encoder", "forward_dynamics"))
    encode, predict = (loaded(tmp_path, graph, format_) for graph in (encoder, dynamics))
    present = model.window.before
    for rows in (1, 3):
        frames = frames_of(model.spec, rows, present + 2)
        with torch.no_grad():
            labels = model.label(Window.of_frames(frames, present=present))
            seen = Window.of_frames(frames[:, : present + 1], present=present)
            frame, outputs = model.predicted(seen, labels.quantized)
        wanted = {"latents": labels.continuous}
        if labels.codes.shape[1]:
            wanted |= {"quantized": labels.quantized, "codes": labels.codes}
        check_equal(encode(frames), encoder, **wanted)
        names = ["prediction"] if len(outputs) == 1 else ["prediction_0", "prediction_1"]
        found = predict(seen.frames, labels.quantized)
        check_equal(found, dynamics, **dict(zip(names, outputs, strict=True)))
        if frame.dtype == torch.uint8:  # a level may be rounded otherwise
            assert np.abs(found["frame"].astype(int) - frame.numpy().astype(int)).max() <= (model.spec == PIXELS)
        else:
            check_equal(found, dynamics, frame=frame)


def make_agent(
    spec: EnvironmentSpec,
    output_dim: int,
    decode: Decode,
    *,
    networks: int = 1,
    head: MixtureSettings | FlowSettings | None = None,
    decodes_features: bool = False,
    selection: Literal["argmax", "sample"] = "argmax",
    **settings: Any,
) -> PolicyAgent:
    """An agent of two members, computing in float32 as graphs do."""
    torch.manual_seed(1)
    policy = PolicySettings.model_validate({"network": SMALL} | settings)
    made = []
    for _ in range(networks):
        drawn = None if head is None else head.build(latent_dim=4, feature_dim=output_dim)
        width = output_dim if drawn is None else drawn.num_outputs
        made.append(PolicyNetwork(settings=policy, spec=spec, output_dim=width, head=drawn))
    agent = PolicyAgent(
        networks=made,
        num_members=2,
        space=actions_of(spec),
        decode=decode,
        action_selection=selection,
        seed=0,
        decodes_features=decodes_features,
    )
    agent.precision = Precision("float32", "as graphs")
    return agent


def decoders(inputs: int, outputs: int) -> list[dict[str, Tensor]]:
    """Those of two members."""
    torch.manual_seed(2)
    return [mlp(inputs, (8,), outputs).state_dict() for _ in range(2)]


def codes_by_table() -> PolicyAgent:
    torch.manual_seed(3)
    tables = [torch.rand(8, 6).softmax(1) for _ in range(2)]
    return make_agent(FULL, 8, table_decode(tables), symmetry="rotation", context=2)


def codes_by_network() -> PolicyAgent:
    decode = mlp_decode(decoders(2 * 4 + 16, 6), actions_of(RULES), num_tokens=2, num_codes=4)
    return make_agent(RULES, 2 * 4, decode, decodes_features=True)


def latents_of_pixels() -> PolicyAgent:
    decode = mlp_decode(decoders(4, 5), actions_of(PIXELS), num_tokens=0, num_codes=0)
    return make_agent(PIXELS, 4, decode, network=PATCHES)


def mixture_of_latents() -> PolicyAgent:
    decode = mlp_decode(decoders(4, 6), actions_of(RULES), num_tokens=0, num_codes=0)
    return make_agent(RULES, 4, decode, head=MixtureSettings(components=3))


def recurrent_actions() -> PolicyAgent:
    return make_agent(RULES, 6, no_decode(actions_of(RULES)), networks=2, recurrent=True, context=3)


def continuous_actions() -> PolicyAgent:
    space = BoxActions((-1.0, -1.0), (1.0, 1.0), "gaussian")
    network = {"kind": "mlp", "hidden_width": 8}
    return make_agent(LINEAR, 4, no_decode(space), networks=2, selection="sample", network=network, context=2)


AGENTS = [
    codes_by_table,
    codes_by_network,
    latents_of_pixels,
    mixture_of_latents,
    recurrent_actions,
    continuous_actions,
]
SPECS = dict(zip(AGENTS, (FULL, RULES, PIXELS, RULES, RULES, LINEAR), strict=True))


def observations_of(spec: EnvironmentSpec, rows: int) -> Observation:
    frames, generator = frames_of(spec, rows).numpy(), np.random.default_rng(rows)
    parts = {}
    for name, part in spec.observation.items():
        if name != spec.main and isinstance(part, Categories):
            parts[name] = np.stack([generator.integers(size, size=rows) for size in part.sizes], axis=1).astype(
                np.uint8
            )
        if name != spec.main and isinstance(part, Vector):
            parts[name] = generator.normal(size=(rows, *part.shape)).astype(np.float32)
    return Observation({name: parts.get(name, frames) for name in spec.observation})


def answered(agent: PolicyAgent, observation: Observation, state: AgentState) -> tuple[AgentState, dict[str, Tensor]]:
    """What the second member answers by the library's own way, and its next state."""
    members = torch.ones(len(observation), dtype=torch.int64)
    agent.action_selection = "argmax"
    action, following = agent.act(observation, state, members)
    network = agent.networks[-1]
    assert isinstance(network, PolicyNetwork)
    with torch.no_grad():
        weights, decoded, _ = agent.run(network, following.inputs, state.recurrent)
        answers = agent.decode(decoded.flatten(0, 1), members.repeat_interleave(decoded.shape[1]))
        mean = agent.space.average(weights, answers.unflatten(0, (-1, decoded.shape[1])))
    return following, {"action": action, **agent.space.told(mean)}


@pytest.mark.slow
@pytest.mark.parametrize("make", AGENTS, ids=lambda make: make.__name__)
def test_an_agent_answers_the_same(make: Callable[[], PolicyAgent], format_: str, tmp_path: Path) -> None:
    agent, spec = make(), SPECS[make]
    export_agent(agent, tmp_path, spec=spec, member=Member("64", 1), place=1, formats=[format_], about={"seed": 7})
    facts = json.loads((tmp_path / "agent_graphs.json").read_text())
    assert (facts["labels"], facts["label_draw"], facts["seed"]) == ("64", 1, 7)
    graph = facts["graphs"]["agent"]
    run = loaded(tmp_path, graph, format_)
    for rows in (1, 3):
        state = agent.initial_state(observations_of(spec, rows))
        for _ in range(2):
            following, expected = answered(agent, observations_of(spec, rows), state)
            inputs = [following.inputs.parts[name] for name in spec.observation]
            if facts["recurrent"]:
                inputs.append(state.recurrent)
                expected["next_recurrent_state"] = following.recurrent
            check_equal(run(*inputs), graph, **expected)
            state = following


def refused(agent: Any, folder: Path, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        export_agent(agent, folder, spec=RULES, member=Member("64", 0), formats=["torch"])
    assert not folder.exists() or not list(folder.iterdir())


def test_what_draws_at_random_is_refused(tmp_path: Path) -> None:
    decode = mlp_decode(decoders(4, 6), actions_of(RULES), num_tokens=0, num_codes=0)
    agent = make_agent(RULES, 8, decode, head=FlowSettings(samples=2))
    refused(agent, tmp_path, "cannot be exported: its FlowHead draws latents at random.*take one of target latent")


class Tossed(torch.nn.Module):
    """A network of somebody's that is random inside."""

    settings = PolicySettings()

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 6)

    def forward(self, inputs: PolicyInputs) -> Tensor:
        outputs: Tensor = self.layer(inputs.begun.float())
        return outputs + torch.rand_like(outputs)


@pytest.mark.slow
def test_a_network_that_is_random_inside_is_refused(tmp_path: Path) -> None:
    agent = make_agent(RULES, 6, no_decode(actions_of(RULES)))
    agent.networks = [Tossed()]
    refused(agent, tmp_path, r"a Tossed, cannot be exported: it draws at random inside \(aten\.rand_like")


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    space = actions_of(RULES)
    refused(RandomAgent(space, seed=0), tmp_path, "RandomAgent of xland-r1-9x9 cannot be exported")
    plain = make_agent(RULES, 6, lambda outputs, members: space.answer(outputs))
    refused(plain, tmp_path, "a function, cannot be exported: expected `of_member`")


def test_formats_that_there_are_not_or_that_nothing_here_writes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_lam("vectors")
    wrong: list[tuple[Sequence[str], str]] = [
        (["tflite"], "found tflite, expected some of onnx, torch"),
        ([], "found none"),
    ]
    for formats, message in wrong:
        with pytest.raises(ValueError, match=message):
            export_lam(model, tmp_path, formats=formats)
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"onnx needs onnx and onnxscript.*pip install onnx==1\.23\.2 onnxscript==0\.7\.2"
    ):
        export_lam(model, tmp_path, formats=["onnx"])
    assert not list(tmp_path.iterdir())


def test_what_the_extra_pins_is_what_is_told() -> None:
    extra = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["project"]["optional-dependencies"]["export"]
    assert {f"{name}=={version}" for name, version in exporting.PACKAGES.items()} < set(extra)
    assert all(pinned in ROOT.joinpath("docs", "dependencies.md").read_text() for pinned in extra)


@pytest.mark.slow
def test_what_the_page_shows_runs_where_nothing_imports_lamflow(format_: str, tmp_path: Path) -> None:
    """The page's blocks, each in a process of its own."""
    page = ROOT.joinpath("docs", "exporting.md").read_text()
    agent, encoder = re.findall(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    folder = tmp_path / "exported"
    if format_ == "onnx":
        export_agent(codes_by_table(), folder, spec=FULL, member=Member("64", 0), formats=["onnx"])
        block, check = agent, "assert 0 <= action < 6"
    else:
        export_lam(make_lam("grid"), folder, formats=["torch"])
        block, check = encoder, "assert latents.shape == (8, 8) and codes.shape == (8, 4)"
    apart = (
        f"import sys\n{block}\n{check}\nassert not [name for name in sys.modules if name.split('.')[0] == 'lamflow']"
    )
    subprocess.run([sys.executable, "-c", apart], cwd=tmp_path, check=True, env={"OMP_NUM_THREADS": "1"}, timeout=300)
