"""Table of the agents of one environment, or of one seed of it."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.summarise import summarise_agents

        run(
            summarise_agents,
            returns=snakemake.input.returns,
            episodes=snakemake.input.episodes,
            output=snakemake.output.table,
        )
