"""Join one split of the environments that another is made of."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.join_episodes import join_episodes

        run(
            join_episodes,
            environment=snakemake.params.environment,
            shares=snakemake.params.shares,
            split=snakemake.wildcards.split,
            episodes=snakemake.input.episodes,
            output=snakemake.output.episodes,
        )
