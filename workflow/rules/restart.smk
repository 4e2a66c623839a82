"""What lets the same command go on after a run that was killed, whatever killed it: no `--unlock`, no `--rerun-incomplete`.

Not where another workflow imports this one: what it does after a kill is not for a module of it to say, and its driver holds no lock of ours.
"""

from lamflow.runs.driver import clear_stale_locks


def what_a_kill_left_incomplete(wildcards):
    """No input. Snakemake asks between reading its command line, which sets `force_incomplete`, and looking for such files."""
    workflow.dag_settings.force_incomplete = True
    return []


if workflow.is_main_process and not IMPORTED:
    clear_stale_locks(Path.cwd())
    for each in workflow.rules:
        each.set_input(what_a_kill_left_incomplete)
