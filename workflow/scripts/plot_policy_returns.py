"""Draw the returns of policies against the steps of their training."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_policy_returns import plot_policy_returns

        run(
            plot_policy_returns,
            returns=snakemake.input.returns,
            labels=snakemake.params.labels,
            output=snakemake.output.plot,
        )
