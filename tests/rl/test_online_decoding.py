"""Online decoding: schedules, labels from the agent's own transitions, what is frozen, and training that resumes bit by bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lamflow.data.windows import Window
from lamflow.envs.interface import Observation, StepResult
from lamflow.envs.presets import preset
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.methods.online import make_online_policy
from lamflow.methods.online_settings import OnlineMethodSettings
from lamflow.policies.contexts import ContextMemory
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings
from lamflow.rl.experience import EpisodesBegun, Experience
from lamflow.rl.online import (
    DecoderRefits,
    Levels,
    delayed_rate,
    label_experience,
    train_online,
)
from lamflow.rl.online_files import read_online_policy, save_online_policy
from lamflow.rl.online_policies import FinetunedPolicy, OnlinePolicy
from lamflow.rl.ppo import PpoLearner
from lamflow.training import precision
from lamflow.training.checkpoint import seed_everything
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import Processor

SPEC = preset("xland-doorkey-5x5-full")
NETWORK = {"width": 8, "layers": 1, "pooling": "flatten", "hidden_width": 16}
LAM = OneStepSettings.model_validate(
    {
        "inverse_dynamics": NETWORK | {"pooling": "max"},
        "forward_dynamics": NETWORK | {"pooling": "max"},
        "quantizer": {"codebooks": 1, "tokens": 2, "code_dim": 4, "codes": 5},
    }
)
SCHEDULE = {"starts_at": 64, "full_at": 128}
ONLINE = {
    "of": "lapo",
    "ppo": {
        "num_envs": 4,
        "num_steps": 16,
        "total_steps": 6 * 64,
        "epochs": 2,
        "minibatches": 2,
        "checkpoint_every": 1,
        "policy_head": SCHEDULE,
        "value_head": SCHEDULE,
        "hidden_layer": SCHEDULE,
    },
    "decoder": {
        "hidden_widths": [8],
        "first_fit": 64,
        "each_until": 192,
        "every": 2,
        "last_fit": 320,
        "batch_size": 32,
    },
}


def latent_method(target: str = "latent", **policy: Any) -> LatentMethodSettings:
    return LatentMethodSettings.model_validate(
        {"lam": "lapo", "target": target, "policy": {"network": NETWORK, **policy}}
    )


def parts(variant: str, target: str = "latent", **policy: Any) -> tuple[OnlineMethodSettings, OnlinePolicy, OneStepLam]:
    """Settings, an untrained agent of an untrained latent policy, and the untrained LAM."""
    seed_everything(0)
    settings = OnlineMethodSettings.model_validate(ONLINE | {"variant": variant})
    latent, lam = latent_method(target, **policy), OneStepLam(settings=LAM, spec=SPEC)
    width = 2 * 5 if target == "codes" else LAM.quantizer.latent_dim
    head = latent.latent_head.build(latent_dim=width, feature_dim=16) if latent.latent_head else None
    width = head.num_outputs if head else width
    network = PolicyNetwork(settings=latent.policy, spec=SPEC, output_dim=width, head=head)
    return settings, make_online_policy(settings, latent, SPEC, network, lam), lam


def run(
    variant: str, state_dir: Path | None = None, target: str = "latent", **policy: Any
) -> tuple[OnlinePolicy, list[EpisodesBegun], DecoderRefits | None]:
    settings, agent, lam = parts(variant, target, **policy)
    refits = None
    if isinstance(agent, FinetunedPolicy) and variant == "rl_sl":
        refits = DecoderRefits(agent, lam, settings.decoder, steps_a_rollout=64, seed=0)
    curve = train_online(
        agent,
        settings.ppo,
        seed=0,
        levels=Levels(10, all_levels=False),
        refits=refits,
        metrics=MetricsLog(),
        state_dir=state_dir,
        identity="test",
        title="",
    )
    return agent, curve, refits


def some_inputs(count: int = 6) -> PolicyInputs:
    generator = np.random.default_rng(0)
    frames = np.zeros((count, *SPEC.frame_shape), np.uint8)
    frames[..., 0] = generator.integers(0, 13, size=frames.shape[:-1])
    frames[np.arange(count), 2, 2, 0] = 13
    proprioception = np.stack([generator.integers(0, size, count) for size in SPEC.proprioception_sizes], axis=1)
    observation = Observation({"frames": frames, "proprioception": proprioception.astype(np.uint8)})
    return ContextMemory(observation, 1, torch.device("cpu")).present


def test_a_delayed_rate_waits_rises_and_falls() -> None:
    shape = {"peak": 1.0, "starts_at": 10, "full_at": 20, "total": 120, "final_fraction": 0.5}
    rates = [delayed_rate(step, **shape) for step in (0, 9, 10, 15, 20, 70, 120, 999)]
    assert rates == [0, 0, 0, 0.5, 1, 0.75, 0.5, 0.5]


def test_only_transitions_with_a_frame_before_and_after_them_are_labelled() -> None:
    lam = OneStepLam(settings=LAM, spec=SPEC).eval()
    frames = np.zeros((5, 1, *SPEC.frame_shape), np.uint8)
    frames[:, 0, 0, 0, 0] = np.arange(5)  # a mark that says which frame it is
    seen: list[Window] = []
    label = lam.label
    lam.label = lambda window: (seen.append(window), label(window))[1]  # type: ignore[method-assign,func-returns-value]
    ends = np.array([[False], [True], [False], [False]])
    experience = Experience(frames, np.array([[0], [1], [2], [3]]), ends)
    _, actions = label_experience(lam, experience, codes=False, precision="float32")
    assert actions.tolist() == [2, 3], "0 has no frame before it in this rollout, 1 ends an episode"
    (window,) = seen
    assert window.frames[:, :, 0, 0, 0].tolist() == [[2, 2, 3], [2, 3, 4]], (
        "an episode's first frame stands before itself"
    )
    assert window.inside.tolist() == [[False, True, True], [True, True, True]]


@pytest.mark.parametrize(
    ("context", "rows", "inside"),
    [
        (0, [[0, 1], [2, 3], [3, 4], [4, 5]], [[1, 1]] * 4),
        (1, [[2, 2, 3], [2, 3, 4], [3, 4, 5]], [[0, 1, 1], [1, 1, 1], [1, 1, 1]]),
        (2, [[2, 2, 2, 3], [2, 2, 3, 4], [2, 3, 4, 5]], [[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]]),
        (3, [[2, 2, 2, 3, 4], [2, 2, 3, 4, 5]], [[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]]),
    ],
)
def test_a_rollouts_windows_hold_the_context_of_the_lam(
    context: int, rows: list[list[int]], inside: list[list[int]]
) -> None:
    """The first two steps are an episode; its last step, and those before which the rollout does not hold the context, are left out."""
    lam = OneStepLam(settings=LAM.model_copy(update={"context": context}), spec=SPEC).eval()
    frames = np.zeros((6, 1, *SPEC.frame_shape), np.uint8)
    frames[:, 0, 0, 0, 0] = np.arange(6)
    seen: list[Window] = []
    label = lam.label
    lam.label = lambda window: (seen.append(window), label(window))[1]  # type: ignore[method-assign,func-returns-value]
    ends = np.array([[False], [True], [False], [False], [False]])
    experience = Experience(frames, np.arange(5)[:, None], ends)
    _, actions = label_experience(lam, experience, codes=False, precision="float32")
    (window,) = seen
    assert window.frames[:, :, 0, 0, 0].tolist() == rows
    assert window.inside.int().tolist() == inside and window.present == context
    assert actions.tolist() == [row[-1] - 1 for row in rows]


def test_the_agent_begins_as_its_decoder_alone() -> None:
    _, agent, _ = parts("rl_sl")
    assert isinstance(agent, FinetunedPolicy) and agent.decoder is not None
    inputs = some_inputs()
    torch.testing.assert_close(agent(inputs), torch.full((6, 6), 1 / 6).log(), msg="no decoder yet: uniform")
    torch.nn.init.normal_(agent.decoder[-1].weight)
    latents = agent.latent_policy(inputs)
    torch.testing.assert_close(agent(inputs), (agent.decoder(latents).log_softmax(-1) / 2).log_softmax(-1))


def test_of_a_single_token_the_decoder_is_averaged_over_the_codes() -> None:
    seed_everything(0)
    network = PolicyNetwork(settings=latent_method("codes").policy, spec=SPEC, output_dim=5)
    agent = FinetunedPolicy(network, spec=SPEC, num_tokens=1, num_codes=5, decoder_widths=[])
    assert agent.decoder is not None
    torch.nn.init.normal_(agent.decoder[-1].weight)
    inputs = some_inputs()
    _, decoded = agent.encode(inputs)
    expected = torch.softmax(network(inputs), -1) @ torch.softmax(agent.decoder(torch.eye(5)), -1)
    torch.testing.assert_close(decoded, expected.log())


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["rl_sl", "rl"])
def test_convolutions_and_latent_policy_stay_as_they_are(variant: str) -> None:
    _, before, _ = parts(variant)
    after, curve, _ = run(variant)
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, before.state_dict()[name])}
    trained = {f"{layer}.{kind}" for layer in ("policy", "value", "hidden") for kind in ("weight", "bias")}
    assert {name for name in changed if not name.startswith("decoder")} == trained
    assert any(name.startswith("decoder") for name in changed) == (variant == "rl_sl")
    assert [point.env_steps for point in curve] == [64 * k for k in range(6)]


@pytest.mark.slow
def test_heads_do_not_move_before_their_time() -> None:
    late = {"starts_at": 10_000, "full_at": 10_000}
    settings, agent, _ = parts("rl")
    ppo = settings.ppo.model_copy(update={"total_steps": 128})
    ppo = type(ppo).model_validate(ppo.model_dump() | {"policy_head": late, "value_head": late, "hidden_layer": late})
    before = {name: value.clone() for name, value in agent.state_dict().items()}
    train_online(
        agent, ppo, seed=0, levels=Levels(10, all_levels=False), refits=None, metrics=MetricsLog(), state_dir=None,
        identity="", title="",
    )  # fmt: skip
    assert all(torch.equal(value, before[name]) for name, value in agent.state_dict().items())


@pytest.mark.slow
def test_decoders_are_refitted_on_schedule_and_learn_what_actions_do(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    refit = DecoderRefits.refit

    def noted(self: DecoderRefits) -> None:
        fitted.append(self.num_rollouts)
        refit(self)

    monkeypatch.setattr(DecoderRefits, "refit", noted)
    _, _, refits = run("rl_sl")
    assert fitted == [1, 2, 3, 4], "after each rollout up to 192 steps, then every second, until 320"
    assert refits is not None and len(refits.buffer) > 200


@pytest.mark.slow
def test_a_learning_curve_counts_every_episode_where_it_began_and_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, StepResult]] = []
    follow = PpoLearner.follow
    monkeypatch.setattr(
        PpoLearner,
        "follow",
        lambda *arguments: (seen.append(arguments[1:3]), follow(*arguments))[1],  # type: ignore[func-returns-value]
    )
    _, curve, _ = run("scratch")
    expected: list[list[float]] = [[] for _ in range(6)]
    for group, env in np.ndindex(2, 2):
        began, total = 0, 0.0
        for step, result in enumerate(result for index, result in seen if index == group):
            total += result.rewards[env]
            if result.terminated[env] or result.truncated[env]:
                if began < 6 * 16:
                    expected[began // 16].append(total)
                began, total = step + 1, 0.0
    assert [point.episodes for point in curve] == [len(returns) for returns in expected]
    assert curve[0].episodes >= 4, "each environment's first episode, however late it ended"
    for point, returns in zip(curve, expected, strict=True):
        assert not returns or point.return_mean == pytest.approx(np.mean(returns))


def interrupt_the_fourth_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    play, rollouts = PpoLearner.play_rollout, []

    def interrupted_play(self: PpoLearner) -> None:
        rollouts.append(1)
        if len(rollouts) == 4:
            raise KeyboardInterrupt
        play(self)

    monkeypatch.setattr(PpoLearner, "play_rollout", interrupted_play)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "target"), [("rl_sl", "latent"), ("rl_sl", "codes"), ("rl_sl", "flow"), ("scratch", "latent")]
)
def test_an_interrupted_and_resumed_training_equals_a_straight_one(
    variant: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, straight_curve, _ = run(variant, target=target, context=2)
    interrupt_the_fourth_rollout(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(variant, tmp_path, target=target, context=2)
    resumed, resumed_curve, _ = run(variant, tmp_path, target=target, context=2)
    np.testing.assert_array_equal(np.array(straight_curve), np.array(resumed_curve))
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.slow
def test_a_training_keeps_its_precisions_on_another_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the loss, of the rollouts, of the labels and of the refits."""
    processor: list[Processor] = ["CPU with AMX"]
    monkeypatch.setattr(precision, "processor_of", lambda device: processor[-1])
    straight, straight_curve, _ = run("rl_sl")
    interrupt_the_fourth_rollout(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run("rl_sl", tmp_path)
    processor.append("CPU without AMX and AVX512_BF16")
    resumed, resumed_curve, refits = run("rl_sl", tmp_path)
    assert refits is not None
    assert {name: taken.name for name, taken in refits.precision.items()} == {"labels": "bf16", "refits": "bf16"}
    np.testing.assert_array_equal(np.array(straight_curve), np.array(resumed_curve))
    other, _, _ = run("rl_sl")
    weights = straight.state_dict()
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in weights.items())
    assert not all(torch.equal(value, other.state_dict()[name]) for name, value in weights.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "target"), [("rl_sl", "latent"), ("rl_sl", "mixture"), ("rl", "latent"), ("scratch", "latent")]
)
def test_a_saved_agent_acts_as_before(variant: str, target: str, tmp_path: Path) -> None:
    agent, _, _ = run(variant, target=target)
    path = tmp_path / "agent.safetensors"
    save_online_policy(path, agent, {"env": SPEC.name, "method": "online", "seed": 0})
    read = read_online_policy(path, spec=SPEC, method="online", seed=0)
    assert torch.equal(read(some_inputs()), agent.eval()(some_inputs()))
    with pytest.raises(ValueError, match="found method 'online', expected 'other'"):
        read_online_policy(path, spec=SPEC, method="other", seed=0)
    with pytest.raises(ValueError, match="found seed 0, expected 1"):
        read_online_policy(path, spec=SPEC, method="online", seed=1)


def test_recurrent_policies_are_refused() -> None:
    settings = PolicySettings.model_validate({"network": NETWORK, "recurrent": True, "context": 2})
    network = PolicyNetwork(settings=settings, spec=SPEC, output_dim=8)
    with pytest.raises(ValueError, match=r"policy\.recurrent: online decoding takes no recurrent policy"):
        FinetunedPolicy(network, spec=SPEC, num_tokens=0, num_codes=0, decoder_widths=None)
