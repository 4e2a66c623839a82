"""Table of the latent action models."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "summarise_lams",
        snakemake,
        metrics=snakemake.input.metrics,
        runs=snakemake.params.runs,
        output=snakemake.output.table,
    )
