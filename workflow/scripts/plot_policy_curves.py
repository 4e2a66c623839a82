"""Draw the learning curves of one environment's policies."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "plot_policy_curves",
        snakemake,
        metrics=snakemake.input.metrics,
        runs=snakemake.params.runs,
        output=snakemake.output.plot,
    )
