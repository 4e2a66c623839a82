"""Train one latent action model."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "train_lam",
        snakemake,
        snakemake.params.settings["training"]["devices"],
        lam=snakemake.wildcards.lam,
        **{name: snakemake.params[name] for name in ("environment", "settings", "state_dir")},
        logging=snakemake.config.get("logging", {}),
        experiment_dir=f"results/{snakemake.wildcards.experiment}",
        seed=int(snakemake.wildcards.seed),
        **{name: snakemake.input[name] for name in ("train", "validation")},
        output=snakemake.output.model,
        metrics=snakemake.output.metrics,
    )
