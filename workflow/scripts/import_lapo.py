"""Convert one split of LAPO's published data."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.import_lapo import import_lapo

        run(
            import_lapo,
            environment=snakemake.params.environment,
            split=snakemake.wildcards.split,
            settings=snakemake.params.settings,
            archive=snakemake.input.archive,
            output=snakemake.output.episodes,
        )
