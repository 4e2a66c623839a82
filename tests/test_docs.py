"""What is generated or said twice is in step."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from lamflow.envs.gymnasium_saved_policy import VERSION
from lamflow.experiment import docs as config_docs

ROOT = Path(__file__).parents[1]
BUILD_DEPENDENT = ("nvidia-", "cuda-", "triton")
LOCK_LINE = re.compile(r"^([A-Za-z0-9._-]+)==([^;\s]+)$")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_versions() -> dict[str, str]:
    lines = [line for line in ROOT.joinpath("requirements.lock").read_text().splitlines() if not line.startswith("#")]
    matches = [LOCK_LINE.match(line) for line in lines]
    assert all(matches), f"not a plain pin: {[line for line, match in zip(lines, matches, strict=True) if not match]}"
    return {canonical(match[1]): match[2] for match in matches if match}


def test_the_schema_is_in_step_with_the_model() -> None:
    assert ROOT.joinpath(config_docs.SCHEMA).read_text() == config_docs.json_schema(), "run `make docs`"


def test_the_configuration_page_is_in_step_with_the_model() -> None:
    assert ROOT.joinpath(config_docs.PAGE).read_text() == config_docs.markdown_page(), "run `make docs`"


@pytest.mark.parametrize("group", config_docs.settings_groups(), ids=lambda group: group.__name__)
def test_every_setting_is_described(group: type) -> None:
    assert group.__doc__
    for name, field in group.model_fields.items():
        assert name == "kind" or field.description, f"{group.__name__}.{name} has no description"


def test_the_lock_pins_what_the_package_asks_for() -> None:
    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["project"]
    locked = locked_versions()
    for text in project["dependencies"] + project["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(locked[canonical(requirement.name)]), text


def test_what_the_extra_for_saved_policies_pins_is_what_is_told_and_tested() -> None:
    extra = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["project"]["optional-dependencies"]["rl"]
    assert extra == [f"sb3-contrib=={VERSION}", f"stable-baselines3=={VERSION}"]
    assert locked_versions()["stable-baselines3"] == VERSION
    assert all(pinned in ROOT.joinpath("docs", "dependencies.md").read_text() for pinned in extra)


def test_the_lock_names_no_build_and_no_cuda_package() -> None:
    for name, version in locked_versions().items():
        assert "+" not in version, f"{name}=={version}: a local version exists on one index only"
        assert not name.startswith(BUILD_DEPENDENT), f"{name} belongs to one build of torch"


def test_the_lock_is_closed() -> None:
    """Everything that a locked package asks for is locked too, but for what its docs page says is left out on purpose."""
    locked = locked_versions()
    left_out = {("gym3", "moderngl"), ("procgen-mirror", "gym")}
    for name in locked:
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            wanted = canonical(requirement.name)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            if wanted.startswith(BUILD_DEPENDENT) or (name, wanted) in left_out:
                continue
            assert wanted in locked, f"{name} asks for {text}, which is not in the lock"


@pytest.mark.parametrize("path", sorted(ROOT.joinpath("envs").glob("*.yaml")), ids=lambda path: path.name)
def test_conda_environments_have_the_versions_of_the_lock(path: Path) -> None:
    locked = locked_versions()
    pins = next(
        entry["pip"]
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
        if isinstance(entry, dict)
    )
    post_deploy = path.with_suffix(".post-deploy.sh")
    pins += re.findall(r"\S+==\S+", post_deploy.read_text()) if post_deploy.exists() else []
    for pin in pins:
        name, version = pin.split("==")
        assert locked[canonical(name)] == version, pin


def test_links_in_the_documentation_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.joinpath("docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert "://" in target or page.parent.joinpath(target).exists(), f"{page.name}: {target} is not there"
