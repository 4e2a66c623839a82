"""Draw all methods at one number of labels."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "plot_method_comparison",
        snakemake,
        aggregate=snakemake.input.aggregate,
        labels=snakemake.params.labels,
        output=snakemake.output.plot,
    )
