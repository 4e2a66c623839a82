"""Write the learning curves of online trainings, and how many steps they save, as tables."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.summarise_online import summarise_online

        run(
            summarise_online,
            curves=snakemake.input.curves,
            episodes=snakemake.input.episodes,
            output_curves=snakemake.output.curves,
            output_efficiency=snakemake.output.efficiency,
            bootstrap_samples=snakemake.params.bootstrap_samples,
        )
