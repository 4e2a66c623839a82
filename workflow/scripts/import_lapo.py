"""Convert one split of LAPO's published data."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "import_lapo",
        snakemake,
        environment=snakemake.params.environment,
        split=snakemake.wildcards.split,
        settings=snakemake.params.settings,
        archive=snakemake.input.archive,
        output=snakemake.output.episodes,
    )
