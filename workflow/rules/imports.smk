"""Stop 2: episodes from published data sets, of the environments whose `collection.source` is one of them, and from recordings.

Outputs of downloads are `update`d: a changed setting or stage compares the file that is there and does not fetch it again.
"""


rule download_lapo:
    output:
        archive=update("resources/lapo/{game}.zip"),
    log:
        f"results/{EXPERIMENT.experiment}/logs/download_lapo/{{game}}.log",
    benchmark:
        f"results/{EXPERIMENT.experiment}/benchmarks/download_lapo/{{game}}.jsonl"
    wildcard_constraints:
        game=any_of(PROCGEN_GAMES),
    localrule: True
    conda:
        "../../envs/datasets.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        settings=lapo_download,
        code=code_of("lamflow.stages.download_dataset"),
    message:
        "LAPO's data: {wildcards.game}"
    script:
        "../scripts/download_dataset.py"


rule import_lapo:
    input:
        archive=lapo_archive,
    output:
        episodes=directory("results/{experiment}/data/{env}/{split}.zarr"),
    log:
        "results/{experiment}/logs/import_lapo/{env}/{split}.log",
    benchmark:
        "results/{experiment}/benchmarks/import_lapo/{env}/{split}.jsonl"
    wildcard_constraints:
        env=any_of(envs_from("lapo")),
    conda:
        "../../envs/datasets.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        settings=lapo_settings,
        environment=environment_facts,
        code=code_of("lamflow.stages.import_lapo"),
    message:
        "Episodes of {wildcards.env}, {wildcards.split} split, from LAPO's data"
    script:
        "../scripts/import_lapo.py"


rule download_dgrl:
    output:
        archive=update("resources/dgrl/{game}.tar.xz"),
    log:
        f"results/{EXPERIMENT.experiment}/logs/download_dgrl/{{game}}.log",
    benchmark:
        f"results/{EXPERIMENT.experiment}/benchmarks/download_dgrl/{{game}}.jsonl"
    wildcard_constraints:
        game=any_of(PROCGEN_GAMES),
    localrule: True
    conda:
        "../../envs/datasets.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        settings=dgrl_download,
        code=code_of("lamflow.stages.download_dataset"),
    message:
        "Data of the generalization gap in offline RL: {wildcards.game}"
    script:
        "../scripts/download_dataset.py"


rule import_dgrl:
    input:
        archive=dgrl_archive,
    output:
        train=directory("results/{experiment}/data/{env}/train.zarr"),
        validation=directory("results/{experiment}/data/{env}/validation.zarr"),
        test=directory("results/{experiment}/data/{env}/test.zarr"),
    log:
        "results/{experiment}/logs/import_dgrl/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/import_dgrl/{env}.jsonl"
    wildcard_constraints:
        env=any_of(envs_from("dgrl")),
    conda:
        "../../envs/datasets.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        settings=dgrl_settings,
        environment=environment_facts,
        code=code_of("lamflow.stages.import_dgrl"),
    message:
        "Episodes of {wildcards.env}, all splits, from the data of the generalization gap in offline RL"
    script:
        "../scripts/import_dgrl.py"


rule import_episodes:
    input:
        recordings=ancient(recorded_files),
    output:
        train=directory("results/{experiment}/data/{env}/train.zarr"),
        validation=directory("results/{experiment}/data/{env}/validation.zarr"),
        test=directory("results/{experiment}/data/{env}/test.zarr"),
        table="results/{experiment}/data/{env}/episodes.csv",
    log:
        "results/{experiment}/logs/import_episodes/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/import_episodes/{env}.jsonl"
    wildcard_constraints:
        env=any_of(envs_from("recorded")),
    conda:
        "../../envs/datasets.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        settings=recorded_settings,
        files=recorded_digest,
        state_dir="results/{experiment}/state/import_episodes/{env}",
        environment=environment_facts,
        code=code_of("lamflow.stages.import_episodes", recorded_parts),
    message:
        "Episodes of {wildcards.env}, all splits, from its recordings"
    script:
        "../scripts/import_episodes.py"
