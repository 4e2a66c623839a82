"""What networks cost: torch counts what is built, whatever it is built of, once; and nobody imports torch for what is known."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lamflow.envs.presets import preset
from lamflow.experiment.reading import read_experiment
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.methods.online_settings import OnlineMethodSettings
from lamflow.policies.dictionary_decoder_settings import DictionaryDecoderSettings
from lamflow.policies.flow_settings import FlowSettings
from lamflow.policies.mixture_settings import MixtureSettings
from lamflow.policies.mlp_decoder_settings import MlpDecoderSettings
from lamflow.policies.settings import PolicySettings
from lamflow.runs.rates import read_rates
from lamflow.runs.sizes import (
    acting_size,
    action_labeller_size,
    decoder_size,
    grid_expert_size,
    labelling_size,
    lam_size,
    online_policy_size,
    pixel_expert_size,
    policy_size,
)
from lamflow.spaces import Categories, Vector

ROOT = Path(__file__).parents[2]
FULL, EGOCENTRIC, COINRUN = preset("xland-doorkey-6x6-full"), preset("xland-doorkey-6x6"), preset("procgen-coinrun")

MADE_UP = {
    "networks": """
from typing import ClassVar, Literal
from pydantic import Field
from lamflow.networks.settings import DynamicsSettings, EncoderSettings

class LstmSettings(EncoderSettings):
    kind: Literal["lstm"] = "lstm"
    builds: ClassVar[str] = "made_up.modules:Lstm"
    hidden_width: int = Field(32, gt=0, description="Width.")

    @classmethod
    def accepts(cls, spec):
        return True

class MapSettings(DynamicsSettings):
    kind: Literal["map"] = "map"
    builds: ClassVar[str] = "made_up.modules:Map"

    @classmethod
    def accepts(cls, spec):
        return True
""",
    "quantizers": """
from typing import ClassVar, Literal
from lamflow.quantizers.settings import QuantizerSettings

class ProductSettings(QuantizerSettings):
    kind: Literal["product"] = "product"
    builds: ClassVar[str] = "made_up.modules:Product"
    latent_dim: ClassVar[int] = 24
""",
    "policies": """
from typing import ClassVar, Literal
from pydantic import Field
from lamflow.policies.settings import DecoderSettings, HeadSettings
from lamflow.training.settings import TrainingSettings

class BentSettings(HeadSettings):
    kind: Literal["bent"] = "bent"
    builds: ClassVar[str] = "made_up.modules:Bent"

class LinearSettings(DecoderSettings):
    kind: Literal["linear"] = "linear"
    builds: ClassVar[str] = "made_up.modules:Linear"
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="Its training.")
""",
}
"""Settings by room."""
MADE_UP_MODULES = """
import torch
from torch import nn
from lamflow.policies.latent_heads import LatentHead
from lamflow.quantizers.interface import Quantized

class Lstm(nn.Module):
    def __init__(self, *, settings, num_frames, spec, output_dim, extra_dim=0, extra_planes=0):
        super().__init__()
        self.cells = nn.LSTM(torch.Size(spec.frame_shape).numel(), settings.hidden_width, batch_first=True)
        self.hidden = nn.Linear(settings.hidden_width, settings.hidden_width)
        self.output = nn.Linear(settings.hidden_width, output_dim)

    def features(self, frames, extra=None, planes=None):
        return self.hidden(self.cells(frames.flatten(2).float())[0][:, -1])

    def forward(self, frames, extra=None, planes=None):
        return self.output(self.features(frames))

class Map(nn.Module):
    def __init__(self, *, settings, spec, latent_dim):
        super().__init__()
        self.layer = nn.Linear(latent_dim, 100)

    def prediction_losses(self, frames, latents, following):
        return self.layer(latents).square().sum(1)

class Product(nn.Module):
    def __init__(self, *, settings):
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(24))

    def forward(self, latents):
        return Quantized(latents @ self.matrix, latents.new_zeros(len(latents), 0).long(), latents.new_zeros(()))

class Bent(LatentHead):
    def __init__(self, *, settings, latent_dim, feature_dim):
        super().__init__(latent_dim=latent_dim, num_outputs=feature_dim)
        self.layer = nn.Linear(feature_dim, latent_dim)

    def loss(self, outputs, latents):
        return (self.layer(outputs) - self._standard(latents)).square().mean()

    def draw(self, outputs, generator):
        drawn = torch.stack([self._unstandard(self.layer(outputs)) for _ in range(7)], dim=1)
        return drawn.new_full(drawn.shape[:2], 1 / 7), drawn

class Linear:
    def __init__(self, *, settings, space, num_tokens, num_codes):
        self.space = space

    def network(self, width):
        return nn.Linear(width, self.space.num_outputs)
"""
ASKS_FOR_THE_JOBS = """
import json, sys
from pathlib import Path
from lamflow.experiment.reading import load_experiment
from lamflow.runs.costs import foreseen_work
from lamflow.runs.rates import read_rates
from lamflow.runs.scope import Scope
given = load_experiment(json.loads(sys.argv[1]))
scope = Scope(given, read_rates(Path("config/rates.yaml")))
names = {"env": given.envs[0], "lam": "theirs", "method": "theirs"}
found = {}
for rule in ("train_lam", "relabel_episodes", "train_policy", "train_action_decoders", "evaluate_agents"):
    work = foreseen_work(scope, rule, names)
    found[rule] = [work.tasks[0].macs, max(work.networks, work.members)] if work.tasks else []
print(json.dumps({**found, "torch": "torch" in sys.modules}))
"""
THEIRS: dict[str, Any] = {
    "experiment": "made-up",
    "envs": [FULL.name],
    "seeds": [0],
    "labels": [8],
    "label_draws": 1,
    "lams": {
        "theirs": {
            "inverse_dynamics": {"kind": "lstm"},
            "forward_dynamics": {"kind": "map"},
            "quantizer": {"kind": "product"},
        }
    },
    "methods": {
        "theirs": {
            "kind": "latent",
            "lam": "theirs",
            "target": "head",
            "head": {"kind": "bent"},
            "policy": {"network": {"kind": "lstm"}, "proprioception": False},
            "decoder": {"kind": "linear"},
        }
    },
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Another package, installed, with a component of each kind that is a network."""
    files = {
        "made_up/__init__.py": "",
        "made_up/modules.py": MADE_UP_MODULES,
        "made_up-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n",
        "made_up-1.0.dist-info/entry_points.txt": "".join(
            f"[lamflow.{room}]\ntheirs = made_up.{room}\n" for room in MADE_UP
        ),
        **{f"made_up/{room}.py": text for room, text in MADE_UP.items()},
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def jobs_of(package: Path, given: dict[str, Any] = THEIRS) -> dict[str, Any]:
    """Multiply-accumulates and parameters by rule in another process, and whether it has imported torch."""
    command = [sys.executable, "-c", ASKS_FOR_THE_JOBS, json.dumps(given)]
    surroundings = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{ROOT / 'src'}:{package}",
        "XDG_CACHE_HOME": str(package / "cache"),
    }
    ran = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and not ran.stderr, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.mark.slow
def test_components_of_another_package_are_counted_once_and_anew_when_they_are_edited(package: Path) -> None:
    """An LSTM over frames of 72 numbers, one map of its state and one of that, a product, a map; the parameters likewise. How long they are
    trained changes nothing."""
    cells, state = 4 * 32 * (72 + 32), 32 * 32
    label = [3 * cells + state + 32 * 24 + 24 * 24, cells + 2 * 4 * 32 + state + 32 + 33 * 24 + 24 * 24]
    policy, head = [cells + state + 32 * 32, cells + 2 * 4 * 32 + 2 * 32 * 33], [32 * 24, 33 * 24]
    expected = {
        "train_lam": [label[0] + 24 * 100, label[1] + 25 * 100],
        "relabel_episodes": label,
        "train_policy": [policy[0] + head[0], policy[1] + head[1]],
        "train_action_decoders": [24 * FULL.num_actions, 25 * FULL.num_actions],
        "evaluate_agents": [policy[0] + 7 * head[0], policy[1] + head[1]],
    }
    assert jobs_of(package) == {**expected, "torch": True}
    longer = json.loads(json.dumps(THEIRS))
    longer["lams"]["theirs"]["training"] = {"steps": 12}
    longer["methods"]["theirs"]["policy"]["training"] = {"steps": 12}
    assert jobs_of(package, longer) == {**expected, "torch": False}
    modules = package / "made_up" / "modules.py"
    modules.write_text(modules.read_text().replace("nn.Linear(latent_dim, 100)", "nn.Linear(latent_dim, 200)"))
    expected["train_lam"] = [label[0] + 24 * 200, label[1] + 25 * 200]
    assert jobs_of(package) == {**expected, "torch": True}


@pytest.mark.parametrize("given", [{"symmetry": "rotation"}, {"quantizer": {"kind": "fsq"}, "normalise": True}])
def test_a_latent_action_model_is_counted_with_all_that_it_has(given: dict[str, Any]) -> None:
    settings = OneStepSettings.model_validate(given)
    model = OneStepLam(settings=settings, spec=FULL)
    size, labelling = lam_size(FULL, settings), labelling_size(FULL, settings)
    forward_dynamics = sum(parameter.numel() for parameter in model.forward_dynamics.parameters())
    assert size.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert labelling.parameters == size.parameters - forward_dynamics
    assert size.macs - labelling.macs > 10 * forward_dynamics


def test_the_products_of_a_codebook_are_the_only_difference_between_quantisers() -> None:
    """Each latent is compared with the codes and made of one; in training the codes also move."""
    codes, none = OneStepSettings(), OneStepSettings.model_validate({"quantizer": {"kind": "none"}})
    product = codes.quantizer.latent_dim * codes.quantizer.num_codes
    assert lam_size(FULL, codes).macs - lam_size(FULL, none).macs == 3 * product
    assert labelling_size(FULL, codes).macs - labelling_size(FULL, none).macs == 2 * product


def test_a_recurrent_policy_sees_its_context_in_training_and_one_frame_at_play() -> None:
    settings = PolicySettings.model_validate({"recurrent": True, "context": 4})
    trained, playing = (size(EGOCENTRIC, settings, 24, None) for size in (policy_size, acting_size))
    width = settings.network.hidden_width
    assert trained.parameters == playing.parameters
    assert trained.macs - playing.macs == 3 * (playing.macs - 24 * width)
    assert playing.macs > 6 * width * width  # the cell's gates


def test_the_parts_of_observations_beside_frames_are_counted() -> None:
    """Each entry of a vector, or of an embedded category, has a column of the hidden layer; also where the size without them is known."""
    settings = PolicySettings.model_validate({"network": {"kind": "impala", "channels": [8], "hidden_width": 16}})
    parts = {"pose": Vector((5,)), "held": Categories((1,), (3,))}
    beside = replace(COINRUN, observation={**COINRUN.observation, **parts})
    for size in (policy_size, acting_size):
        plain, found = (size(spec, settings, 10, None) for spec in (COINRUN, beside))
        embedded = settings.network.extras_width
        assert embedded is not None
        assert found.parameters - plain.parameters == 16 * (5 + embedded) + 3 * embedded
        assert found.macs - plain.macs == 16 * (5 + embedded)


@pytest.mark.parametrize("head", [MixtureSettings(components=3), FlowSettings(samples=4, integration_steps=5)])
def test_what_a_head_draws_counts_at_play(head: MixtureSettings | FlowSettings) -> None:
    settings = PolicySettings.model_validate({"network": {"kind": "impala", "channels": [8], "hidden_width": 16}})
    plain, trained, playing = (
        policy_size(COINRUN, settings, 10, None),
        policy_size(COINRUN, settings, 10, head),
        acting_size(COINRUN, settings, 10, head),
    )
    assert trained.parameters == playing.parameters > plain.parameters
    if head.kind == "flow":
        features, vectors = 16 * 256, 18 * 256 + 256 * 256 + 256 * 10
        assert trained.macs - playing.macs == features + vectors - 5 * (features + 4 * vectors)
    else:
        assert trained.macs == playing.macs == plain.macs + 16 * (3 * 21 - 10)


def test_decoders_are_networks_or_nothing() -> None:
    settings = MlpDecoderSettings(hidden_widths=(64, 32))
    products = 128 * 64 + 64 * 32 + 32 * COINRUN.num_actions
    size = decoder_size(COINRUN, settings, 128, 0, 64)
    assert size == (products, products + 64 + 32 + COINRUN.num_actions)
    assert decoder_size(COINRUN, DictionaryDecoderSettings(), 12, 1, 12) == (0, 0)


def test_experts_are_trained_whole_and_keep_what_they_see() -> None:
    features = (5 * 5 + 1) * sum(EGOCENTRIC.category_sizes) + 4  # the view and the pocket; the direction
    grid = grid_expert_size(EGOCENTRIC, 24)
    assert grid.macs == grid.trained_macs == features * 24 + 24 * 24 + 24 * (EGOCENTRIC.num_actions + 1)
    assert grid.kept_bytes == features
    pixels = pixel_expert_size(COINRUN, read_experiment(ROOT / "config" / "procgen_experts.yaml").pixel_expert.network)
    assert pixels.macs == pixels.trained_macs and pixels.kept_bytes == 64 * 64 * 3


def test_an_online_policy_trains_its_hidden_layer_and_heads_or_all_of_it() -> None:
    tuned, lam = LatentMethodSettings(lam="lapo"), OneStepSettings()
    width, actions = lam.quantizer.latent_dim, FULL.num_actions
    decoded, plain, scratch = (
        online_policy_size(
            FULL, OnlineMethodSettings.model_validate({"of": "it", "variant": variant}), tuned, width, lam
        )
        for variant in ("rl_sl", "rl", "scratch")
    )
    inputs, hidden = (plain.kept_bytes // 4, tuned.policy.network.hidden_width)
    assert plain.trained_macs == decoded.trained_macs == inputs * hidden + hidden * (actions + 1)
    assert scratch.trained_macs == scratch.macs == plain.macs
    decoder = width * 192 + 192 * 128 + 128 * 64 + 64 * actions
    assert decoded.macs == plain.macs + inputs * hidden + hidden * width + decoder
    assert decoded.kept_bytes == plain.kept_bytes + 4 * actions
    assert scratch.kept_bytes < plain.kept_bytes


def test_counting_leaves_torchs_switches_and_random_numbers_as_they_were() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    given = OneStepSettings.model_validate({"inverse_dynamics": {"kind": "grid", "width": 7}})
    action_labeller_size(FULL, given.inverse_dynamics, "none")
    assert torch.equal(torch.rand(3), expected)
    assert torch.backends.mkldnn.enabled and torch.backends.mha.get_fastpath_enabled()


@pytest.mark.slow
def test_the_sizes_in_the_table_of_rates_are_those_of_the_configurations_it_names() -> None:
    rates = read_rates(ROOT / "config" / "rates.yaml")
    for name in ("paper", "procgen_laptop"):
        experiment = read_experiment(ROOT / "config" / f"{name}.yaml")
        lam, method = experiment.lams["lapo"], experiment.methods["lapo"]
        assert isinstance(method, LatentMethodSettings)
        sizes = {
            "lam_training": lam_size(COINRUN, lam),
            "labelling": labelling_size(COINRUN, lam),
            "cloning": policy_size(COINRUN, method.policy, lam.quantizer.latent_dim, None),
        }
        for kind, size in sizes.items():
            assert size.macs in {point.macs for point in rates.work[kind].pixels.cpu}, (name, kind)
