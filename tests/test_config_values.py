"""What numbers, switches and names settings take: every field of every settings class, and the explainer over every kind of error."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from lamflow.data.label_budgets import LabelBudget
from lamflow.data.sources import DataSources
from lamflow.experiment.docs import groups_below
from lamflow.experiment.experiment import Experiment
from lamflow.experiment.reading import load_experiment
from lamflow.runs.rates import Rates
from lamflow.settings import LONGEST_NAME
from lamflow.settings_errors import explain
from lamflow.training.settings import TrainingSettings

CONFIG = Path(__file__).parents[1] / "config"
ROOTS = (Experiment, DataSources, Rates)
GROUPS = {group.__name__: group for root in ROOTS for group in groups_below(root)}


def kinds_in(annotation: Any) -> set[type]:
    """The types that stand somewhere in an annotation."""
    inner = [kinds_in(part) for part in get_args(annotation)]
    return set().union(*inner) if inner else {annotation} if isinstance(annotation, type) else set()


def number_fields() -> Iterator[tuple[str, str]]:
    for name, group in GROUPS.items():
        for field, facts in group.model_fields.items():
            if kinds_in(facts.annotation) & {int, float}:
                yield name, field


FREE = ("GymnasiumSettings", "kwargs")
"""Arguments of somebody else's environment: switches and text, too, and how large its numbers may be nobody here knows."""
NUMBER_FIELDS = sorted(set(number_fields()) - {FREE})
ABSURD = [
    float("inf"),
    float("-inf"),
    float("nan"),
    ".inf",
    "inf",
    "nan",
    "1e300",
    True,
    False,
    10**18,
    -(10**18),
    10**400,
    "9" * 5000,
]


def shapes_of(value: Any) -> list[Any]:
    """The value as it is, or as a member of a list or mapping, as the field may be one."""
    return [value, [value], [value, value], {"train_lam": value}]


def refused(group: type[BaseModel], field: str, value: Any) -> bool:
    try:
        group.model_validate({field: value})
    except ValidationError as error:
        explain(error, group, "my.yaml")
        return any(problem["loc"][:1] == (field,) for problem in error.errors())
    return False


def test_the_walk_finds_the_numbers() -> None:
    assert len(NUMBER_FIELDS) > 100
    assert ("TrainingSettings", "window_gib") in NUMBER_FIELDS and ("Point", "per_second") in NUMBER_FIELDS


@pytest.mark.parametrize(("group", "field"), NUMBER_FIELDS)
def test_every_number_is_finite_no_switch_and_within_reason(group: str, field: str) -> None:
    for value in ABSURD:
        for shape in shapes_of(value):
            assert refused(GROUPS[group], field, shape), f"{group}.{field} takes {shape!r}"


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")], ids=str)
def test_numbers_among_free_arguments_are_finite_however_deep(value: float) -> None:
    group, field = FREE
    assert FREE in set(number_fields())
    for shape in (value, [1, value], {"scale": [value]}, [[{"scale": value}]]):
        assert refused(GROUPS[group], field, {"size": shape}), shape


def test_free_arguments_are_taken_as_they_are() -> None:
    group, field = FREE
    given = {"size": 9, "scale": 0.5, "slippery": True, "mode": "inf", "map": ["SF", "FG"], "more": {"wind": None}}
    found = GROUPS[group].model_validate({"id": "FrozenLake-v1", field: given})
    assert getattr(found, field) == given and found.kwargs["slippery"] is True


def minimal(**changes: Any) -> dict[str, Any]:
    return {
        "experiment": "test",
        "envs": ["xland-doorkey-5x5"],
        "seeds": [0],
        "lams": {"plain": {}},
        "methods": {"lapo": {"kind": "latent", "lam": "plain"}, "random": {"kind": "random"}},
    } | changes


def training(**changes: Any) -> dict[str, Any]:
    return {"lams": {"plain": {"training": changes}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [0, 2**32]}, "seeds: seed 4294967296 is above 4294967295, the largest that all generators take"),
        ({"seeds": [2**64]}, "seeds: seed 18446744073709551616 is above 4294967295"),
        ({"seeds": ["٣"]}, "seeds: seed '٣' is no non-negative integer"),
        ({"labels": ["²"]}, "labels: label count '²': expected a positive integer"),
        ({"labels": [True]}, "labels.0"),
        (
            training(window_gib=float("inf")),
            "lams.plain.training.window_gib: Input should be a finite number (found inf)",
        ),
        (
            training(steps=True),
            "lams.plain.training.steps: Input should be a valid integer; YAML reads on, yes and true as true: quote",
        ),
        (
            training(learning_rate=float("nan")),
            "lams.plain.training.learning_rate: Input should be a finite number (found nan)",
        ),
        (training(steps="1e5"), "lams.plain.training.steps: .*; YAML reads 1e5 as text: write 100000 (found '1e5')"),
        (
            training(batch_size=9, devices=2),
            "lams.plain.training: batch_size: found 9, expected a multiple of devices = 2",
        ),
        (
            training(adam_epsilon=1e-50),
            "lams.plain.training.adam_epsilon: Input should be greater than or equal to 0.000000000000000000000000000001",
        ),
        (
            {"lams": {"plain": {"inverse_dynamics": {"layers": 10**9}}}},
            "lams.plain.inverse_dynamics.layers: Input should be less than or equal to 1000 (found 1000000000)",
        ),
        (
            {"lams": {"plain": {"quantizer": {"codebooks": 1000, "tokens": 1000}}}},
            "lams.plain.quantizer: codebooks x tokens x code_dim: found a latent of 16000000, expected at most 65536",
        ),
        ({"collection": {"num_rulesets": 9}}, "collection.num_rulesets: Input should be greater than or equal to 10"),
        (
            {"experiment": True},
            "experiment: Input should be a valid string; YAML reads on, yes and true as true: quote the word",
        ),
        ({"experiment": 7}, 'experiment: Input should be a valid string; quote it: "7" (found 7)'),
        ({"experiment": "a" * (LONGEST_NAME + 1)}, "experiment: String should have at most 100 characters (found 'aaa"),
        ({"lams": {"a" * 300: {}}}, "not allowed as a key: String should have at most 100 characters"),
        (
            {"methods": {True: {"kind": "bc"}}},
            "methods: found the key True, expected text: YAML reads on, yes and true as True",
        ),
        ({"methods": {1: {"kind": "bc"}}}, "methods: found the key 1, expected text"),
        ({"lams": None}, "lams: expected a mapping of keys to values (found nothing after the colon, or null)"),
        ({"methods": {"bc": None}}, "methods.bc: expected a mapping of keys to values (found nothing after the colon"),
        (
            {"lams": {"plain": {"inverse_dynamics": "impala"}}},
            "lams.plain.inverse_dynamics: expected a mapping of keys to values (found 'impala')",
        ),
    ],
)
def test_values_that_no_stage_can_honour_are_refused_with_their_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        load_experiment(minimal(**changes), source="my.yaml")
    text = str(raised.value)
    for part in message.split(".*"):
        assert part in text
        text = text[text.index(part) :]


def test_the_largest_seed_and_the_longest_name_are_taken() -> None:
    assert load_experiment(minimal(seeds=[2**32 - 1], experiment="a" * LONGEST_NAME)).seeds == (2**32 - 1,)


def test_a_choice_named_off_may_be_written_without_quotes() -> None:
    assert TrainingSettings.model_validate({"compile": yaml.safe_load("off")}).compile == "off"
    with pytest.raises(ValidationError, match="'auto' or 'off'"):
        TrainingSettings.model_validate({"compile": yaml.safe_load("on")})


@pytest.mark.parametrize("written", ["no", "off", "false", "n", "0", "'false'"])
def test_switches_may_be_written_in_each_way_of_yaml_and_of_the_command_line(written: str) -> None:
    wandb = {"wandb": yaml.safe_load(written)}
    assert load_experiment(minimal(logging=wandb)).logging.wandb is False


def test_a_trial_gives_each_device_an_equal_part_of_its_batch() -> None:
    cut = load_experiment(minimal(trial={}, **training(batch_size=96, devices=3)))
    assert cut.lams["plain"].training.batch_size == 9


def test_a_label_count_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a positive integer"):
        LabelBudget.of_configuration("9" * 5000)


def nested(depth: int) -> Any:
    """A list of lists of itself: ten to the power of ``depth`` values in a few objects."""
    value: Any = ["x"]
    for _ in range(depth):
        value = [value] * 10
    return value


def endless() -> Any:
    value: list[Any] = []
    value.append({"inside": value})
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (nested(30), r"aliases make 2\.11e\+30 values of the few that are written"),
        (endless(), "an alias stands inside its own anchor"),
        (json.loads("[" * 900 + "]" * 900), "nested too deep; expected at most 50 levels"),
    ],
    ids=["aliases", "endless", "deep"],
)
def test_values_without_end_are_refused_before_anybody_visits_them(value: Any, message: str) -> None:
    """By all that reads settings, also from a configuration that Snakemake has read."""
    with pytest.raises(ValueError, match=message):
        load_experiment(minimal(lams={"plain": {"inverse_dynamics": {"kind": value}}}), source="my.yaml")


# The explainer -------------------------------------------------------------------------------------------------------

WRONG: list[Any] = [
    None, True, 3, float("nan"), "on", "é\x00\ud800", [], [[1]], {}, {"kind": {}}, {1: 2}, {"é\ud800\n": 1}, [{"misspelt": 3}], b"",
]  # fmt: skip


def replaced(content: Any, value: Any) -> Iterator[Any]:
    """``content`` with each of its parts replaced by ``value``, one at a time, and with ``value`` under an unknown key of each mapping."""
    yield value
    if isinstance(content, dict):
        for key, part in content.items():
            yield from ({**content, key: other} for other in replaced(part, value))
            yield {other: part for other, part in content.items() if other != key}
        yield {**content, "misspelt": value}
        yield {**content, True: value}
    elif isinstance(content, list):
        for index, part in enumerate(content[:2]):
            yield from ([*content[:index], other, *content[index + 1 :]] for other in replaced(part, value))


def small(content: dict[str, Any]) -> dict[str, Any]:
    """The first entries of each of a file's mappings."""
    return {
        key: dict(itertools.islice(part.items(), 2)) if isinstance(part, dict) else part
        for key, part in content.items()
    }


def contents() -> dict[type[BaseModel], dict[str, Any]]:
    pixels = {"inverse_dynamics": {"kind": "impala"}, "forward_dynamics": {"kind": "unet"}}
    methods: dict[str, Any] = {kind: {"kind": kind} for kind in ("bc", "vpt", "oracle_bc", "random")}
    methods |= {"lapo": {"kind": "latent", "lam": "plain", "policy": {"network": {"width": 8}}, "flow": {}}}
    methods["tuned"] = {"kind": "online", "of": "lapo", "ppo": {"policy_head": {}}, "decoder": {"hidden_widths": [8]}}
    lams = {"plain": {"supervision": {}, "training": {}}, "pixels": pixels}
    experiment = minimal(
        lams=lams, methods=methods, only={"bc": ["xland-doorkey-5x5"]}, trial={}, labels=[16, "5 trajectories"]
    )
    files = {DataSources: "datasets.yaml", Rates: "rates.yaml"}
    return {Experiment: experiment} | {
        root: small(yaml.safe_load(CONFIG.joinpath(name).read_text("utf-8"))) for root, name in files.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("root", ROOTS)
def test_the_explainer_has_an_answer_to_every_error(root: type[BaseModel]) -> None:
    content, kinds = contents()[root], set()
    for value in WRONG:
        for changed in replaced(content, value):
            try:
                root.model_validate(changed)
            except ValidationError as error:
                kinds |= {problem["type"] for problem in error.errors()}
                text = explain(error, root, "my.yaml")
                text.encode("utf-8")
                assert "function-" not in text and len(text) < 100_000
    assert {"extra_forbidden", "missing", "string_type"} <= kinds


def test_a_misspelt_key_in_a_list_of_rates_is_named(tmp_path: Path) -> None:
    from lamflow.runs.rates import read_rates

    content = yaml.safe_load(CONFIG.joinpath("rates.yaml").read_text("utf-8"))
    content["work"]["ppo"]["grid"]["cpu"][0]["persecond"] = 3
    path = tmp_path / "rates.yaml"
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match=r"work\.ppo\.grid\.cpu\.0\.persecond: unknown key; known here: .*per_second"):
        read_rates(path)
