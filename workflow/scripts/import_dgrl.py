"""Convert a Procgen archive of "The Generalization Gap in Offline RL"."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "import_dgrl",
        snakemake,
        environment=snakemake.params.environment,
        settings=snakemake.params.settings,
        archive=snakemake.input.archive,
        outputs={split: snakemake.output[split] for split in ("train", "validation", "test")},
    )
