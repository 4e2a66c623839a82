"""Send an experiment's tables and figures to Weights & Biases."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.log_experiment import log_experiment

        run(
            log_experiment,
            experiment=snakemake.wildcards.experiment,
            experiment_dir=f"results/{snakemake.wildcards.experiment}",
            results=snakemake.input.results,
            **{name: snakemake.params[name] for name in ("settings", "trainings")},
            logging=snakemake.config.get("logging", {}),
            output=snakemake.output.sent,
        )
