"""Draw the learning curves of one environment's policies."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_policy_curves import plot_policy_curves

        run(
            plot_policy_curves,
            metrics=snakemake.input.metrics,
            runs=snakemake.params.runs,
            output=snakemake.output.plot,
        )
