"""Convert a Procgen archive of "The Generalization Gap in Offline RL"."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.import_dgrl import import_dgrl

        run(
            import_dgrl,
            environment=snakemake.params.environment,
            settings=snakemake.params.settings,
            archive=snakemake.input.archive,
            outputs={split: snakemake.output[split] for split in ("train", "validation", "test")},
        )
