"""Measure an expert on levels of the test split and write its card."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.measure_expert import measure_expert

        run(
            measure_expert,
            environment=snakemake.params.environment,
            expert=snakemake.input.expert,
            episodes=snakemake.params.episodes,
            published=snakemake.params.published,
            seed=snakemake.params.seed,
            output=snakemake.output.card,
        )
