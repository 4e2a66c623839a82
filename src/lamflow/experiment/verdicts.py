"""Verdicts on the latent action models of a run, on the terminal or beside what their agents earned.

``python -m lamflow.experiment.verdicts results/quickstart/summary/lams.csv`` judges the table of any version of lamflow.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lamflow.components import kind_of
from lamflow.evaluation.lam_tables import counted, read_lams, told
from lamflow.evaluation.results import read_aggregate
from lamflow.experiment.experiment import Experiment
from lamflow.experiment.reading import load_experiment
from lamflow.yaml_files import read_yaml


def beside_returns(table: pd.DataFrame, aggregate: pd.DataFrame, experiment: Experiment) -> str:
    """A Markdown table: each LAM's verdicts over seeds, and the mean normalised returns of the methods that use it, beside those of
    cloning the same labels (``BC``). ``table`` as ``with_verdicts`` answers it, ``aggregate`` as ``summary/aggregate.csv``."""
    labels = [str(count) for count in experiment.labels]
    lines = [_line(["environment", "LAM", "verdicts", "method", *labels]), "|" + "---|" * (4 + len(labels))]
    for env in sorted(set(table["env"])):
        measured = aggregate[aggregate["env"] == env].set_index(["method", "labels"])["mean"]
        for name, method in experiment.methods.items():
            if name not in measured.index.get_level_values("method"):
                continue
            means = [f"{measured[name, count]:.2f}" if (name, count) in measured.index else "" for count in labels]
            if method.lam_name:
                lams = table[(table["env"] == env) & (table["lam"] == method.lam_name)]
                verdicts = ", ".join(f"{count} {finding}" for finding, count in counted(lams).items())
                lines.append(_line([env, f"`{method.lam_name}`", verdicts, f"`{name}`", *means]))
            elif kind_of(type(method)) == "bc":
                lines.append(_line([env, "", "", f"`{name}`", *means]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; ``--help`` explains it."""
    parser = argparse.ArgumentParser(
        prog="python -m lamflow.experiment.verdicts",
        description="Say of each latent action model of a run whether it can be trusted, and what to try where it cannot.",
    )
    parser.add_argument("lams", type=Path, help="the run's summary/lams.csv")
    parser.add_argument(
        "--aggregate", type=Path, help="its summary/aggregate.csv: print a table of verdicts beside returns"
    )
    parser.add_argument(
        "--configfile", type=Path, nargs="+", help="its configuration, in the order of the run; with --aggregate"
    )
    chosen = parser.parse_args(arguments)
    if (chosen.aggregate is None) != (chosen.configfile is None):
        parser.error("--aggregate and --configfile go together: the configuration says which method uses which LAM")
    try:
        table = read_lams(chosen.lams)
        if chosen.aggregate is None:
            print(told(table))
        else:
            print(beside_returns(table, read_aggregate(chosen.aggregate), _layered(chosen.configfile)))
    except ValueError as error:
        parser.exit(1, f"{error}\n")


def _layered(paths: Sequence[Path]) -> Experiment:
    """Configuration files one over the other, as Snakemake layers them."""
    from snakemake.utils import update_config

    merged = read_yaml(paths[0])
    for path in paths[1:]:
        update_config(merged, read_yaml(path))
    return load_experiment(merged, source=", ".join(map(str, paths)))


if __name__ == "__main__":
    main()
