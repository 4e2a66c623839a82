"""Write the returns of policies while they trained as a table."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.summarise_policy_returns import summarise_policy_returns

        run(
            summarise_policy_returns,
            curves=snakemake.input.curves,
            episodes=snakemake.input.episodes,
            output=snakemake.output.table,
            bootstrap_samples=snakemake.params.bootstrap_samples,
        )
