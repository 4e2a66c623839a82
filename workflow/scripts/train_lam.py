"""Train one latent action model."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "train_lam",
        snakemake,
        snakemake.params.settings["training"]["devices"],
        **{name: snakemake.wildcards[name] for name in ("env", "lam")},
        settings=snakemake.params.settings,
        logging=snakemake.config.get("logging", {}),
        seed=int(snakemake.wildcards.seed),
        train=snakemake.input.train,
        validation=snakemake.input.validation,
        output=snakemake.output.model,
        metrics=snakemake.output.metrics,
        state_dir=snakemake.params.state_dir,
    )
