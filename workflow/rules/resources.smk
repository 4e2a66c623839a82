"""What jobs ask for, as functions of the configuration and of the attempt, and the estimate that a dry run ends with."""

import atexit

from snakemake.settings.types import Quietness

from lamflow.runs.costs import gpus_in, machine_has_gpu, memory_mb, rules_with_costs, time_limit_minutes
from lamflow.runs.estimate import PlannedJob, estimate_table
from lamflow.runs.rates import read_rates
from lamflow.runs.scope import Scope, rows_of_recordings

# ASSUME: an archive of DGRL has 1 M steps on 200 levels of equal length, of which the splits take 160, 20 and 20 (docs/datasets.md);
# LAPO's test/ is as large as one chunk of train/.
DGRL_ROWS = {"train": 800_000, "validation": 100_000, "test": 100_000}


def imported_rows(env):
    """Rows of each split of an environment whose episodes are imported."""
    if env in envs_from("dgrl"):
        return DGRL_ROWS
    if env in envs_from("recorded"):
        return rows_of_recordings(EXPERIMENT.environment(env))
    source = DATASETS.source_of("lapo", env)
    chunk = source.train_chunk_rows
    return {"train": source.train_chunks * chunk, "validation": source.validation_chunks * chunk, "test": chunk}


try:
    SCOPE = Scope(
        experiment=EXPERIMENT,
        rates=read_rates(ROOT / "config" / "rates.yaml"),
        imported_rows={
            env: imported_rows(env) for env in [*envs_from("lapo"), *envs_from("dgrl"), *envs_from("recorded")]
        },
        shipped_experts=frozenset(env for env in EXPERIMENT.simulated_envs if shipped_expert(env)),
    )
except ValueError as error:
    raise WorkflowError(str(error)) from None

# A profile of a cluster names nodes or Slurm's own resources; without one, jobs run on this machine.
ON_CLUSTER = any(
    name == "nodes" or name.startswith("slurm_") for name in workflow.resource_settings.default_resources or ()
)
HAS_GPU = ON_CLUSTER or machine_has_gpu()


# A workflow that imports the rules may rename them; what a job costs is found by the name that its rule has here.
NAMES_HERE = {workflow.modifier.avail_rulename(name): name for name in rules_with_costs(SCOPE)}


def name_here(rulename):
    return NAMES_HERE.get(rulename, rulename)


def lam_gpus(wildcards):
    return EXPERIMENT.lams[wildcards.lam].training.devices


def method_gpus(part):
    return lambda wildcards: EXPERIMENT.methods[wildcards.method].devices(part)


def gpus_of(rulename, wildcards):
    """GPUs that a job computes on: those that its rule or the profile asks for, where there are any."""
    asked = workflow.get_rule(rulename).resources
    # A profile's entries are texts, which Snakemake evaluates with more than wildcards; `raw` is the text itself.
    named = {
        name: asked[name].raw or asked[name].evaluate(wildcards).value for name in ("gpu", "gres") if name in asked
    }
    return gpus_in(named) if HAS_GPU else 0


def processors_of(rulename, wildcards, threads):
    """The device whose rates hold for a job, and how many of them it has."""
    gpus = gpus_of(rulename, wildcards)
    return {"device": "gpu", "processors": gpus} if gpus else {"device": "cpu", "processors": threads}


def job_mb(wildcards, attempt, rulename):
    device = "gpu" if gpus_of(rulename, wildcards) else "cpu"
    return memory_mb(SCOPE, name_here(rulename), dict(wildcards.items()), device=device, attempt=attempt)


def longest_minutes(rulename, wildcards):
    """The longest time limit that the profile allows, if it has one: `max_runtime`, a resource of our own."""
    asked = workflow.get_rule(rulename).resources
    return int(asked["max_runtime"].evaluate(wildcards).value) if "max_runtime" in asked else None


def job_minutes(wildcards, attempt, rulename, threads):
    return time_limit_minutes(
        SCOPE,
        name_here(rulename),
        dict(wildcards.items()),
        **processors_of(rulename, wildcards, threads),
        attempt=attempt,
        longest=longest_minutes(rulename, wildcards),
    )


def planned_job(job):
    processors = processors_of(job.rule.name, job.wildcards, job.threads)
    return PlannedJob(
        name_here(job.rule.name),
        job.wildcards_dict,
        gpus=processors["processors"] if processors["device"] == "gpu" else 0,
        cores=job.resources.get("cpus_per_task", job.threads),
        mem_mb=job.resources.get("mem_mb", 0),
        device=processors["device"],
        shown=job.rule.name,
    )


def print_estimate():
    """Of the jobs of these rules that a dry run has planned. Snakemake has no hook for the end of a dry run."""
    if not workflow.dryrun or workflow.dag is None or Quietness.ALL in (workflow.output_settings.quiet or ()):
        return
    needed = workflow.dag.needrun_jobs(exclude_finished=False)
    jobs = [planned_job(job) for job in needed if not job.is_norun and job.rule.module_globals is globals()]
    if jobs:
        print(estimate_table(SCOPE, jobs), flush=True)


if workflow.is_main_process:
    atexit.register(print_estimate)
