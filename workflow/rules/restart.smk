"""What lets the same command go on after a run that was killed, whatever killed it: no `--unlock`, no `--rerun-incomplete`."""

from lamflow.runs.driver import clear_stale_locks


def what_a_kill_left_incomplete(wildcards):
    """No input. Snakemake asks between reading its command line, which sets `force_incomplete`, and looking for such files."""
    workflow.dag_settings.force_incomplete = True
    return []


if workflow.is_main_process:
    clear_stale_locks(Path.cwd())
    for each in workflow.rules:
        each.set_input(what_a_kill_left_incomplete)
