"""Download the archive of a published data set."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.download_dataset import download_dataset

        run(
            download_dataset,
            settings=snakemake.params.settings,
            output=snakemake.output.archive,
        )
