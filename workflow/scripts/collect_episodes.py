"""Collect one split of the demonstrator's episodes."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "collect_episodes",
        snakemake,
        environment=snakemake.params.environment,
        settings=snakemake.params.settings,
        split=snakemake.wildcards.split,
        seed=snakemake.params.seed,
        expert=snakemake.input.expert,
        output=snakemake.output.episodes,
    )
