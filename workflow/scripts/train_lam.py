"""Train one latent action model."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake, processes=snakemake.params.settings["training"]["devices"]) as run:
        from lamflow.stages.train_lam import train_lam

        run(
            train_lam,
            lam=snakemake.wildcards.lam,
            **{name: snakemake.params[name] for name in ("environment", "settings", "state_dir")},
            logging=snakemake.config.get("logging", {}),
            experiment_dir=f"results/{snakemake.wildcards.experiment}",
            seed=int(snakemake.wildcards.seed),
            **{name: snakemake.input[name] for name in ("train", "validation")},
            output=snakemake.output.model,
            metrics=snakemake.output.metrics,
        )
