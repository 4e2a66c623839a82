"""Draw the codes of one latent action model against the true actions."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "plot_code_actions",
        snakemake,
        episodes=snakemake.input.episodes,
        latents=snakemake.input.latents,
        output=snakemake.output.plot,
    )
