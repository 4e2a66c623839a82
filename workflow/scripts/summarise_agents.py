"""Table of the agents of one environment, or of one seed of it."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "summarise.summarise_agents",
        snakemake,
        returns=snakemake.input.returns,
        episodes=snakemake.input.episodes,
        output=snakemake.output.table,
    )
