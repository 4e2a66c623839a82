"""Draw how likely each method is to beat the baselines."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_probability_of_improvement import plot_probability_of_improvement

        run(
            plot_probability_of_improvement,
            improvement=snakemake.input.improvement,
            labels=snakemake.params.labels,
            baselines=snakemake.params.baselines,
            output=snakemake.output.plot,
        )
