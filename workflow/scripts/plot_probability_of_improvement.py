"""Draw how likely each method is to beat the baselines."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "plot_probability_of_improvement",
        snakemake,
        improvement=snakemake.input.improvement,
        labels=snakemake.params.labels,
        baselines=snakemake.params.baselines,
        output=snakemake.output.plot,
    )
