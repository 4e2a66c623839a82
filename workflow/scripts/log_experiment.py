"""Send an experiment's tables and figures to Weights & Biases."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "log_experiment",
        snakemake,
        experiment=snakemake.wildcards.experiment,
        experiment_dir=f"results/{snakemake.wildcards.experiment}",
        results=snakemake.input.results,
        **{name: snakemake.params[name] for name in ("settings", "trainings")},
        logging=snakemake.config.get("logging", {}),
        output=snakemake.output.sent,
    )
