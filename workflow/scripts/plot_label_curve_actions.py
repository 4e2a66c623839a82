"""Draw how well actions are answered against the number of labels."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_label_curve_actions import plot_label_curve_actions

        run(
            plot_label_curve_actions,
            aggregate=snakemake.input.aggregate,
            episodes=snakemake.input.episodes,
            envs=snakemake.params.envs,
            output=snakemake.output.plot,
        )
