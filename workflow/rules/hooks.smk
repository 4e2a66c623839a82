"""What the driver does around a run; the jobs themselves are started without hooks."""

import shlex

from snakemake_logger_plugin_lamflow import listen

from lamflow.runs import events
from lamflow.runs.driver import take_over
from lamflow.runs.plan import PLAN, write_plan
from lamflow.runs.report import (
    describe_missing,
    forget_missing,
    note_missing,
    report_at_exit,
    report_options,
    unmade_results,
)
from lamflow.runs.stopping import note_stopping, stop_in_order
from lamflow.runs.wakeups import wake_for_jobs_alone

# Snakemake's Slurm executor removes Slurm's variables from the environment of a driver that is a job itself.
OWN_SLURM_JOB = os.environ.get("SLURM_JOB_ID")

# Jobs inherit what was typed, for the runs at Weights & Biases that say it.
if workflow.is_main_process:
    os.environ.update(LAMFLOW_COMMAND=shlex.join(["snakemake", *sys.argv[1:]]))


onstart:
    executor = workflow.executor_plugin.name
    if executor == "slurm":
        raise WorkflowError(
            "--executor slurm waits for ever for preempted and lost jobs: take --executor lamflow, which is that executor without this fault, "
            "and write --lamflow- in place of --slurm- before its settings. --profile slurm does both."
        )
    try:
        results = Path("results", EXPERIMENT.experiment)
        wake_for_jobs_alone(workflow, executor_keeps_limit=executor == "lamflow")
        take_over(Path.cwd(), slurm_job=OWN_SLURM_JOB, needs_slurm=not workflow.local_exec)
        forget_missing(results)
        noted = events.begin(results)
        listen(workflow.logger_manager, events.note_record)
        if workflow.local_exec:
            stop_in_order(Path.cwd())
        else:
            note_stopping()
        write_plan(results / PLAN, workflow.dag, events=noted, snakemake_logs=log, slurm_job=OWN_SLURM_JOB)
    except (ValueError, OSError) as error:
        raise WorkflowError(str(error)) from None


onsuccess:
    events.note("ended")
    lam_table = Path("results", EXPERIMENT.experiment, "summary", "lams.csv")
    if lam_table.exists():
        # Imported here alone: it reads tables by pandas.
        from lamflow.evaluation.lam_tables import read_lams, told

        try:
            print(told(read_lams(lam_table)), file=sys.stderr)
        except ValueError as error:
            print(error, file=sys.stderr)


onerror:
    events.note("ended")
    # Jobs that still run were stopped by somebody, who does not wait for a report.
    if workflow.scheduler.failed and not workflow.scheduler.running:
        results = Path("results", EXPERIMENT.experiment)
        unmade = unmade_results(workflow.dag, final_results(None))
        note_missing(results, describe_missing(workflow.dag, workflow.scheduler.failed, unmade), unmade)
        asked, options = report_options(sys.argv[1:])
        if asked and made_results(None):
            report_at_exit(asked, options)
