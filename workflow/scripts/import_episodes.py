"""Import the recorded episodes of an environment."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.import_episodes import import_episodes

        run(
            import_episodes,
            **{name: snakemake.params[name] for name in ("environment", "settings", "files", "state_dir")},
            outputs={split: snakemake.output[split] for split in ("train", "validation", "test")},
            table=snakemake.output.table,
        )
