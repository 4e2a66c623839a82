"""Draw the codes of one latent action model against the true actions."""

from lamflow.stages.entry import stage_process

if __name__ == "__main__":
    with stage_process(snakemake) as run:
        from lamflow.stages.plot_code_actions import plot_code_actions

        run(
            plot_code_actions,
            episodes=snakemake.input.episodes,
            latents=snakemake.input.latents,
            output=snakemake.output.plot,
        )
