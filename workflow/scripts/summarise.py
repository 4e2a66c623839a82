"""Summarise all agents' episodes."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.summarise import summarise

        run(
            summarise,
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
