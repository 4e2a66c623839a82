"""Measure an expert on levels of the test split and write its card."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "measure_expert",
        snakemake,
        environment=snakemake.params.environment,
        expert=snakemake.input.expert,
        episodes=snakemake.params.episodes,
        published=snakemake.params.published,
        seed=snakemake.params.seed,
        output=snakemake.output.card,
    )
