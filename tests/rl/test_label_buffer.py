"""The label buffer: bounded, the last ones or a uniform sample of all, and resumable."""

import pytest
import torch

from lamflow.rl.label_buffer import LabelBuffer


def filled(kind: str, capacity: int, counts: list[int], seed: int = 0) -> LabelBuffer:
    """A buffer that was given 0, 1, 2, ... in parts of ``counts``; latent and action of each transition are its number."""
    buffer = LabelBuffer(capacity, 2, kind=kind, dtype=torch.float32, seed=seed)  # type: ignore[arg-type]
    added = 0
    for count in counts:
        numbers = torch.arange(added, added + count)
        buffer.add(numbers[:, None].expand(-1, 2).float(), numbers)
        added += count
    return buffer


@pytest.mark.parametrize("kind", ["ring", "reservoir"])
def test_a_buffer_that_is_not_full_holds_everything_in_order(kind: str) -> None:
    buffer = filled(kind, 10, [3, 4])
    assert buffer.actions.tolist() == list(range(7))


@pytest.mark.parametrize("counts", [[4, 4, 4], [12], [3, 9], [25]])
def test_a_ring_holds_the_last_ones(counts: list[int]) -> None:
    buffer = filled("ring", 5, counts)
    assert sorted(buffer.actions.tolist()) == list(range(sum(counts) - 5, sum(counts)))


@pytest.mark.parametrize("kind", ["ring", "reservoir"])
def test_latents_stay_with_their_actions_and_no_transition_is_held_twice(kind: str) -> None:
    buffer = filled(kind, 50, [30, 70, 200, 1])
    assert len(buffer) == len(set(buffer.actions.tolist())) == 50
    assert torch.equal(buffer.latents[:, 0].long(), buffer.actions)


def test_a_reservoir_keeps_each_transition_with_the_same_probability() -> None:
    kept = torch.zeros(60)
    for seed in range(2000):
        kept[filled("reservoir", 20, [25, 5, 30], seed).actions] += 1
    expected = 2000 * 20 / 60
    deviation = (2000 * (1 / 3) * (2 / 3)) ** 0.5
    assert (kept - expected).abs().max() < 4.5 * deviation
    assert (kept[:20].mean() - kept[40:].mean()).abs() < deviation


@pytest.mark.parametrize("kind", ["ring", "reservoir"])
def test_a_restored_buffer_goes_on_as_it_would_have(kind: str) -> None:
    buffer = filled(kind, 20, [50])
    other = LabelBuffer(20, 2, kind=kind, dtype=torch.float32, seed=99)  # type: ignore[arg-type]
    other.load_state_dict(buffer.state_dict())
    numbers = torch.arange(50, 90)
    for one in (buffer, other):
        one.add(numbers[:, None].expand(-1, 2).float(), numbers)
    assert torch.equal(buffer.actions, other.actions) and torch.equal(buffer.latents, other.latents)
