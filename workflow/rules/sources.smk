"""Input functions and params of the rules for published data sets, and the list of these, config/datasets.yaml."""

from snakemake.exceptions import WorkflowError

from lamflow.envs.procgen_presets import PROCGEN_GAMES
from lamflow.data.sources import ArchiveSource, archive_path, read_sources
from lamflow.episodes.files import files_digest

try:
    DATASETS = read_sources(ROOT / "config" / "datasets.yaml")
    for name in ("lapo", "dgrl"):
        for env in envs_from(name):
            DATASETS.source_of(name, env)
except ValueError as error:
    raise WorkflowError(str(error)) from None


def lapo_download(wildcards):
    return download_settings("lapo", wildcards.game)


def dgrl_download(wildcards):
    return download_settings("dgrl", wildcards.game)


def download_settings(name, game):
    """What a download reads: not how the archive becomes splits."""
    source = DATASETS.source_of(name, f"procgen-{game}")
    return {key: value for key, value in settings_of(source).items() if key in ArchiveSource.model_fields}


def lapo_archive(wildcards):
    return archive_path("lapo", wildcards.env, DATASETS.source_of("lapo", wildcards.env))


def dgrl_archive(wildcards):
    return archive_path("dgrl", wildcards.env, DATASETS.source_of("dgrl", wildcards.env))


def lapo_settings(wildcards):
    """The numbers of chunks of other splits than the job's own do not count."""
    chunks = {"train_chunks", "validation_chunks", "train_chunk_rows", "test_chunk_rows"}
    read = {
        "train": chunks - {"test_chunk_rows"},
        "validation": {"validation_chunks", "train_chunk_rows"},
        "test": {"test_chunk_rows"},
    }
    return settings_of(DATASETS.source_of("lapo", wildcards.env), without=chunks - read[wildcards.split])


def dgrl_settings(wildcards):
    return settings_of(DATASETS.source_of("dgrl", wildcards.env))


def recorded_parts(wildcards):
    return EXPERIMENT.environments[wildcards.env].episodes


def recorded_files(wildcards):
    return recorded_parts(wildcards).files


@cache
def digest_of_recordings(env):
    return files_digest(EXPERIMENT.environments[env].episodes.files)


def recorded_digest(wildcards):
    """Names, sizes and times of all files: Snakemake looks at the time of a folder alone."""
    return digest_of_recordings(wildcards.env)


def recorded_settings(wildcards):
    return settings_of(recorded_parts(wildcards))


def published_returns(wildcards):
    """What the official code of LAPO gives for the game, where its data are listed (easy modes)."""
    if wildcards.env not in DATASETS.lapo:
        return {}
    source = DATASETS.source_of("lapo", wildcards.env)
    return {"random (LAPO)": source.return_random, "expert (LAPO)": source.return_expert}
