"""The report's captions: every figure has one, and each is valid reStructuredText once its names are filled in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from docutils.core import publish_parts

CAPTIONS = sorted((Path(__file__).parents[2] / "workflow" / "report").glob("*.rst"))
WILDCARDS = {"env": "xland-doorkey-6x6", "lam": "lapo", "statistic": "mean"}


@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: path.stem)
def test_caption_renders_without_warnings(path: Path) -> None:
    snakemake = SimpleNamespace(wildcards=SimpleNamespace(**WILDCARDS), params=SimpleNamespace(labels="64"))
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    text = environment.from_string(path.read_text(encoding="utf-8")).render(snakemake=snakemake, files=[])
    html = publish_parts(text, writer="html", settings_overrides={"halt_level": 2})["body"]
    assert len(html) > 200


def test_each_figure_has_a_caption() -> None:
    stages = Path(__file__).parents[2] / "src" / "lamflow" / "stages"
    figures = {path.stem.removeprefix("plot_") for path in stages.glob("plot_*.py")}
    assert figures <= {path.stem for path in CAPTIONS}
