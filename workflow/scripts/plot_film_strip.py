"""Draw what one latent action model predicts under each code."""

from lamflow.stages.entry import run_stage

if __name__ == "__main__":
    run_stage(
        "plot_film_strip",
        snakemake,
        model=snakemake.input.model,
        episodes=snakemake.input.episodes,
        latents=snakemake.input.latents,
        output=snakemake.output.plot,
    )
