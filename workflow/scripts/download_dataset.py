"""Download the archive of a published data set."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "download_dataset",
        snakemake,
        settings=snakemake.params.settings,
        output=snakemake.output.archive,
    )
