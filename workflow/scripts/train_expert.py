"""Train or set up the demonstrator of one environment."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.train_expert import train_expert

        run(
            train_expert,
            environment=snakemake.params.environment,
            settings=snakemake.params.settings,
            seed=snakemake.params.seed,
            output=snakemake.output.expert,
            state_dir=snakemake.params.state_dir,
            shipped=snakemake.input.get("shipped"),
            logging=snakemake.config.get("logging", {}),
            experiment_dir=f"results/{snakemake.wildcards.experiment}",
        )
