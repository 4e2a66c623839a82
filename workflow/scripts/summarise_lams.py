"""Table of the latent action models."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.summarise_lams import summarise_lams

        run(
            summarise_lams,
            metrics=snakemake.input.metrics,
            runs=snakemake.params.runs,
            output=snakemake.output.table,
        )
