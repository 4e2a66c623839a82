"""Files of several networks: what goes in comes out, and files of something else are refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from lamflow.data.store import EpisodeArrays
from lamflow.envs.presets import preset
from lamflow.policies.flow_settings import FlowSettings
from lamflow.policies.members import (
    Member,
    label_members,
    labelled_rows,
    member_seed,
    read_members,
    read_policies,
    save_members,
)
from lamflow.policies.mixture_settings import MixtureSettings
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings

ENV = "xland-doorkey-5x5"
SETTINGS = PolicySettings.model_validate({"network": {"width": 8, "layers": 1, "hidden_width": 8}})


def save(path: Path, settings: PolicySettings = SETTINGS, **changes: Any) -> list[PolicyNetwork]:
    """Twelve policies, so that member 10 sorts before member 2 by name."""
    torch.manual_seed(0)
    networks = [PolicyNetwork(settings=SETTINGS, spec=preset(ENV), output_dim=6) for _ in range(12)]
    metadata = {"env": ENV, "method": "bc", "seed": 0, "output_dim": 6, "settings": settings.model_dump(mode="json")}
    members = label_members([16, 64, 256, "500 trajectories"], 3)
    save_members(path, members, [network.state_dict() for network in networks], metadata | changes)
    return networks


def test_members_are_every_label_count_with_every_draw() -> None:
    assert label_members([16, "5 trajectories"], 2) == [
        Member("16", 0),
        Member("16", 1),
        Member("5 trajectories", 0),
        Member("5 trajectories", 1),
    ]


def test_members_may_be_of_certain_draws_only() -> None:
    assert label_members([16, 64], [2]) == [Member("16", 2), Member("64", 2)]


def test_members_come_back_in_order_with_their_own_weights(tmp_path: Path) -> None:
    networks = save(tmp_path / "policy.safetensors")
    members, found = read_policies(tmp_path / "policy.safetensors", spec=preset(ENV), method="bc", seed=0)
    assert members == label_members([16, 64, 256, "500 trajectories"], 3)
    for network, expected in zip(found, networks, strict=True):
        assert not network.training and network.settings == SETTINGS
        for name, tensor in expected.state_dict().items():
            assert torch.equal(network.state_dict()[name], tensor)


@pytest.mark.parametrize("target", ["mixture", "flow"])
def test_a_policy_comes_back_with_its_head(target: str, tmp_path: Path) -> None:
    settings = FlowSettings(hidden_widths=(4,)) if target == "flow" else MixtureSettings(components=2)
    head = settings.build(latent_dim=3, feature_dim=5)
    head.standardise(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
    network = PolicyNetwork(settings=SETTINGS, spec=preset(ENV), output_dim=head.num_outputs, head=head)
    header = {"latent_dim": 3, "settings": settings.model_dump(mode="json")}
    metadata = {"env": ENV, "method": "lapo", "seed": 0, "output_dim": head.num_outputs, "head": header}
    metadata["settings"] = SETTINGS.model_dump(mode="json")
    save_members(tmp_path / "policy.safetensors", [Member("all", 0)], [network.state_dict()], metadata)
    _, (found,) = read_policies(tmp_path / "policy.safetensors", spec=preset(ENV), method="lapo", seed=0)
    assert type(found.head) is type(head)
    assert found.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(found.state_dict()[name].cpu(), t) for name, t in network.state_dict().items())


def test_the_header_comes_back(tmp_path: Path) -> None:
    save(tmp_path / "policy.safetensors", extra=[1, 2])
    _, weights, metadata = read_members(tmp_path / "policy.safetensors", env=ENV, method="bc", seed=0)
    assert len(weights) == 12
    assert metadata["extra"] == [1, 2] and metadata["output_dim"] == 6


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"spec": preset("xland-fourrooms")},
            "found env 'xland-doorkey-5x5', expected 'xland-fourrooms': give the file of that env",
        ),
        ({"method": "vpt"}, "found method 'bc', expected 'vpt': give the file of that method"),
        ({"seed": 1}, "found seed 0, expected 1: give the file of that seed"),
    ],
)
def test_a_file_of_another_environment_method_or_seed_is_refused(
    asked: dict[str, Any], message: str, tmp_path: Path
) -> None:
    save(tmp_path / "policy.safetensors")
    with pytest.raises(ValueError, match=rf"policy\.safetensors: {message}"):
        read_policies(tmp_path / "policy.safetensors", **({"spec": preset(ENV), "method": "bc", "seed": 0} | asked))


def test_policies_of_another_architecture_are_refused(tmp_path: Path) -> None:
    other = PolicySettings.model_validate({"network": {"width": 16, "layers": 1, "hidden_width": 8}})
    save(tmp_path / "policy.safetensors", settings=other)
    with pytest.raises(
        ValueError, match=r"policy\.safetensors: checkpoint of another architecture \(\d+ differences\)"
    ):
        read_policies(tmp_path / "policy.safetensors", spec=preset(ENV), method="bc", seed=0)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    with pytest.raises(ValueError, match=r"policy\.safetensors: no such model file"):
        read_members(path, env=ENV, method="bc", seed=0)
    save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"policy\.safetensors: damaged model file"):
        read_members(path, env=ENV, method="bc", seed=0)


def test_every_member_of_every_run_has_a_seed_of_its_own() -> None:
    labels = [*map(str, (16, 17, 32, 64, 256, 1024)), "16 trajectories", "500 trajectories", "all", "0"]
    members = [Member(count, draw) for count, draw in product(labels, range(5))]
    seeds = {member_seed(seed, member) for seed, member in product(range(5), members)}
    repeated = 5 * 5  # 'all' and '0' are never in one method
    assert len(seeds) == 5 * len(members) - repeated
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_seeds_of_any_size_and_many_draws_give_members_seeds_of_their_own() -> None:
    seeds, draws = (0, 1, 2**31, 2**31 + 1, 2**32 - 1), range(100)
    found = {member_seed(seed, Member("16", draw)) for seed, draw in product(seeds, draws)}
    assert len(found) == len(seeds) * len(draws)
    assert all(0 <= seed < 2**63 for seed in found)


def test_the_labelled_rows_of_a_member_do_not_depend_on_the_method(walks: EpisodeArrays) -> None:
    """They are a function of the episodes, the label budget, the draw and the seed; and smaller budgets lie in larger ones."""
    few, many = (labelled_rows(walks, Member(count, 1), seed=2) for count in ("16", "64"))
    assert torch.equal(few, labelled_rows(walks, Member("16", 1), seed=2))
    assert torch.equal(few, many[:16])
    assert not torch.equal(few, labelled_rows(walks, Member("16", 0), seed=2))
    assert not torch.equal(few, labelled_rows(walks, Member("16", 1), seed=3))
    assert len(labelled_rows(walks, Member("2 trajectories", 0), seed=0)) > 2
