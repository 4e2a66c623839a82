"""lamflow: latent action models, from episodes to a report. `snakemake` builds the quickstart, `--configfile` another one."""

import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27")

# The checkout, of which `workflow.basedir` is not the folder where another workflow imports this one (docs/importing.md).
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
IMPORTED = not workflow.modifier.is_main_snakefile()
if not ROOT.is_dir():
    raise WorkflowError(
        f"{ROOT}: the rules need the package and the files of their checkout, and Snakemake fetches single files from there. Clone the "
        "repository and import the Snakefile of the clone."
    )
if workflow.modifier.path_modifier.replace_prefix("results/") != "results/":
    raise WorkflowError(
        "`prefix` and `replace_prefix` would move the outputs of the rules, but not what their trainings resume from: leave them out. "
        "Each experiment has a folder of its own, results/<experiment>."
    )

# The checkout's own package comes first, in this process and, through the environment, in the jobs: the workflow runs
# without an installed lamflow (on Slurm its executor plugin must be), and a copied checkout never runs another one's code.
SOURCES = str(ROOT / "src")
sys.path.insert(0, SOURCES)
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [SOURCES, os.environ.get("PYTHONPATH", "")])))

# Snakemake writes its interpreter into shell commands as it is: in a folder with a space they would end at the space.
if Path(sys.executable).exists():
    sys.executable = shlex.quote(sys.executable)

import lamflow
from lamflow.experiment.reading import load_experiment
from lamflow.yaml_files import check_files

if not Path(lamflow.__file__).samefile(ROOT / "src" / "lamflow" / "__init__.py"):
    raise WorkflowError(
        f"{ROOT}: this process has imported lamflow from {Path(lamflow.__file__).parent}, and jobs would run other code than it plans with. "
        "Import one checkout in a workflow."
    )

DEFAULT = os.path.relpath(ROOT / "config" / "config.yaml")

# Snakemake's own reader takes the last of two equal keys. Jobs get what the main process has checked. The files of an importing workflow
# are its own.
try:
    if workflow.is_main_process and not IMPORTED:
        check_files(map(Path, workflow.overwrite_configfiles or [DEFAULT]))
except ValueError as error:
    raise WorkflowError(str(error)) from None

# Snakemake would merge a --configfile INTO this one, and its methods and LAMs would then join the quickstart's. It leaves this one alone
# where an importing workflow gives a `config`.
if IMPORTED and workflow.overwrite_configfiles and not workflow.modifier.skip_configfile:
    raise WorkflowError(
        f"module {workflow.modifier.namespace}: with --configfile it needs `config: config`, or another `config`."
    )
if IMPORTED or not workflow.overwrite_configfiles:

    configfile: DEFAULT


try:
    given_by = [f"module {workflow.modifier.namespace}"] if IMPORTED else map(str, workflow.configfiles)
    EXPERIMENT = load_experiment(config, source=", ".join(given_by))
except ValueError as error:
    raise WorkflowError(str(error)) from None


include: "workflow/rules/common.smk"
include: "workflow/rules/demonstrators.smk"
include: "workflow/rules/sources.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/hooks.smk"


wildcard_constraints:
    experiment=any_of([EXPERIMENT.experiment]),
    env=any_of(EXPERIMENT.envs),
    split="train|validation|test",
    lam=any_of(EXPERIMENT.lams),
    method=any_of(EXPERIMENT.methods),
    seed=any_of(EXPERIMENT.seeds),


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        final_results,
        tracked_results,


# What the report of a run with failures shows: `snakemake --report FILE made_results`.
rule made_results:
    input:
        made_results,


rule experts:
    input:
        expert_cards,


include: "workflow/rules/experts.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/imports.smk"
include: "workflow/rules/lam.smk"
include: "workflow/rules/policy.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/tracking.smk"
include: "workflow/rules/restart.smk"
