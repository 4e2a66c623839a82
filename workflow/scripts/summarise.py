"""Summarise all agents' episodes."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "summarise",
        snakemake,
        returns=snakemake.input.returns,
        episodes=snakemake.input.episodes,
        output_returns=snakemake.output.returns,
        output_aggregate=snakemake.output.aggregate,
        output_improvement=snakemake.output.improvement,
        output_differences=snakemake.output.differences,
        output_profile=snakemake.output.profile,
        output_tables=[snakemake.output.table, snakemake.output.markdown, snakemake.output.latex],
        labels=snakemake.params.labels,
        bootstrap_samples=snakemake.params.bootstrap_samples,
    )
