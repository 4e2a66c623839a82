"""Collect one split of the demonstrator's episodes."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.collect_episodes import collect_episodes

        run(
            collect_episodes,
            environment=snakemake.params.environment,
            settings=snakemake.params.settings,
            split=snakemake.wildcards.split,
            seed=snakemake.params.seed,
            expert=snakemake.input.expert,
            output=snakemake.output.episodes,
        )
