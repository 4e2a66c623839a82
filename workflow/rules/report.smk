"""Stop 8: tables and plots, which `snakemake --report` puts on a page.

Rules that take a second or two over small tables are local: submitting them would cost more.
"""


rule summarise:
    input:
        returns=TARGETS.returns(EXPERIMENT.envs),
        episodes=stores_of("test"),
    output:
        returns="results/{experiment}/summary/returns.csv",
        aggregate="results/{experiment}/summary/aggregate.csv",
        improvement="results/{experiment}/summary/improvement.csv",
        differences="results/{experiment}/summary/differences.csv",
        profile="results/{experiment}/summary/profile.csv",
        table=report(
            "results/{experiment}/summary/table.csv",
            caption="../report/table.rst",
            category="Returns",
            labels={"plot": "table of returns", "statistic": "mean and IQM"},
        ),
        markdown="results/{experiment}/summary/table.md",
        latex="results/{experiment}/summary/table.tex",
    log:
        "results/{experiment}/logs/summarise.log",
    benchmark:
        "results/{experiment}/benchmarks/summarise.jsonl"
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        labels=TARGETS.compared_labels(),
        bootstrap_samples=EXPERIMENT.evaluation.bootstrap_samples,
        code=code_of("lamflow.stages.summarise"),
        normalisers=code_of("lamflow.evaluation.normalisers"),
    message:
        "Summary over all agents"
    script:
        "../scripts/summarise.py"


rule summarise_env:
    input:
        returns=lambda wildcards: TARGETS.returns([wildcards.env]),
        episodes=["results/{experiment}/data/{env}/test.zarr"],
    output:
        table="results/{experiment}/summary/{env}.csv",
    log:
        "results/{experiment}/logs/summarise_env/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/summarise_env/{env}.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        code=code_of("lamflow.stages.summarise"),
        normalisers=code_of("lamflow.evaluation.normalisers"),
    message:
        "Summary of {wildcards.env}"
    script:
        "../scripts/summarise_agents.py"


rule summarise_seed:
    input:
        returns=lambda wildcards: TARGETS.returns([wildcards.env], [wildcards.seed]),
        episodes=["results/{experiment}/data/{env}/test.zarr"],
    output:
        table="results/{experiment}/summary/{env}/seed{seed}.csv",
    log:
        "results/{experiment}/logs/summarise_seed/{env}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/summarise_seed/{env}/seed{seed}.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        code=code_of("lamflow.stages.summarise"),
        normalisers=code_of("lamflow.evaluation.normalisers"),
    message:
        "Summary of {wildcards.env}, seed {wildcards.seed}"
    script:
        "../scripts/summarise_agents.py"


rule summarise_actions:
    input:
        actions=TARGETS.actions(EXPERIMENT.envs),
    output:
        scores="results/{experiment}/summary/action_scores.csv",
        aggregate=report(
            "results/{experiment}/summary/action_aggregate.csv",
            caption="../report/action_scores.rst",
            category="Actions",
            labels={"plot": "table of scores", "environment": "all"},
        ),
    log:
        "results/{experiment}/logs/summarise_actions.log",
    benchmark:
        "results/{experiment}/benchmarks/summarise_actions.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        bootstrap_samples=EXPERIMENT.evaluation.bootstrap_samples,
        code=code_of("lamflow.stages.summarise_actions"),
    message:
        "Summary of all answers to recorded actions"
    script:
        "../scripts/summarise_actions.py"


rule note_left_out:
    output:
        texts="results/{experiment}/summary/left_out.rst",
    log:
        "results/{experiment}/logs/note_left_out.log",
    benchmark:
        "results/{experiment}/benchmarks/note_left_out.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        texts=left_out(EXPERIMENT),
        code=code_of("lamflow.stages.note_left_out"),
    message:
        "What the experiment leaves out"
    script:
        "../scripts/note_left_out.py"


rule summarise_lams:
    input:
        metrics=TARGETS.lam_metrics(EXPERIMENT.envs),
    output:
        table=report(
            "results/{experiment}/summary/lams.csv",
            caption="../report/lams.rst",
            category="Latent actions",
            labels={"plot": "verdicts and metrics", "environment": "all", "LAM": "all"},
        ),
    log:
        "results/{experiment}/logs/summarise_lams.log",
    benchmark:
        "results/{experiment}/benchmarks/summarise_lams.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        runs=TARGETS.lam_runs(EXPERIMENT.envs),
        code=code_of("lamflow.stages.summarise_lams"),
        verdicts=code_of("lamflow.lam.verdicts"),
    message:
        "Summary of the latent action models"
    script:
        "../scripts/summarise_lams.py"


rule summarise_online:
    input:
        curves=TARGETS.online_curves(EXPERIMENT.envs),
        episodes=stores_of("test"),
    output:
        curves="results/{experiment}/summary/online.csv",
        efficiency="results/{experiment}/summary/sample_efficiency.csv",
    log:
        "results/{experiment}/logs/summarise_online.log",
    benchmark:
        "results/{experiment}/benchmarks/summarise_online.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        bootstrap_samples=EXPERIMENT.evaluation.bootstrap_samples,
        code=code_of("lamflow.stages.summarise_online"),
        normalisers=code_of("lamflow.evaluation.normalisers"),
    message:
        "Summary of the methods trained online"
    script:
        "../scripts/summarise_online.py"


rule summarise_policy_returns:
    input:
        curves=TARGETS.policy_returns(),
        episodes=stores_of("test"),
    output:
        table="results/{experiment}/summary/policy_returns.csv",
    log:
        "results/{experiment}/logs/summarise_policy_returns.log",
    benchmark:
        "results/{experiment}/benchmarks/summarise_policy_returns.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        bootstrap_samples=EXPERIMENT.evaluation.bootstrap_samples,
        code=code_of("lamflow.stages.summarise_policy_returns"),
        normalisers=code_of("lamflow.evaluation.normalisers"),
    message:
        "Summary of the returns of policies in training"
    script:
        "../scripts/summarise_policy_returns.py"


rule plot_label_curve:
    input:
        aggregate="results/{experiment}/summary/aggregate.csv",
        episodes=stores_of("train"),
        published=published_table(),
    output:
        plot=report(
            "results/{experiment}/plots/label_curve_{statistic}.svg",
            caption="../report/label_curve.rst",
            category="Returns",
            labels={"plot": "return against labels", "statistic": "{statistic}"},
        ),
    log:
        "results/{experiment}/logs/plot_label_curve/{statistic}.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_label_curve/{statistic}.jsonl"
    wildcard_constraints:
        statistic="mean|iqm|success",
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        code=code_of("lamflow.stages.plot_label_curve"),
    message:
        "Plot of returns against labels, {wildcards.statistic}"
    script:
        "../scripts/plot_label_curve.py"


rule plot_label_curve_actions:
    input:
        aggregate="results/{experiment}/summary/action_aggregate.csv",
        episodes=stores_of("train", TARGETS.scored_envs()),
    output:
        plot=report(
            "results/{experiment}/plots/label_curve_actions.svg",
            caption="../report/label_curve_actions.rst",
            category="Actions",
            labels={"plot": "scores against labels", "environment": "all"},
        ),
    log:
        "results/{experiment}/logs/plot_label_curve_actions.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_label_curve_actions.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        envs=TARGETS.scored_envs(),
        code=code_of("lamflow.stages.plot_label_curve_actions"),
    message:
        "Plot of answers to recorded actions against labels"
    script:
        "../scripts/plot_label_curve_actions.py"


rule plot_method_comparison:
    input:
        aggregate="results/{experiment}/summary/aggregate.csv",
    output:
        plot=report(
            "results/{experiment}/plots/method_comparison.svg",
            caption="../report/method_comparison.rst",
            category="Returns",
            labels={"plot": "methods at equal labels", "statistic": "mean"},
        ),
    log:
        "results/{experiment}/logs/plot_method_comparison.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_method_comparison.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        labels=TARGETS.compared_labels(),
        code=code_of("lamflow.stages.plot_method_comparison"),
    message:
        "Plot of methods at {params.labels} labels"
    script:
        "../scripts/plot_method_comparison.py"


rule plot_performance_profile:
    input:
        profile="results/{experiment}/summary/profile.csv",
    output:
        plot=report(
            "results/{experiment}/plots/performance_profile.svg",
            caption="../report/performance_profile.rst",
            category="Returns",
            labels={"plot": "performance profile", "statistic": "fraction of agents"},
        ),
    log:
        "results/{experiment}/logs/plot_performance_profile.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_performance_profile.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        labels=TARGETS.compared_labels(),
        code=code_of("lamflow.stages.plot_performance_profile"),
    message:
        "Plot of methods: performance profile at {params.labels} labels"
    script:
        "../scripts/plot_performance_profile.py"


rule plot_probability_of_improvement:
    input:
        improvement="results/{experiment}/summary/improvement.csv",
    output:
        plot=report(
            "results/{experiment}/plots/probability_of_improvement.svg",
            caption="../report/probability_of_improvement.rst",
            category="Returns",
            labels={"plot": "probability of improvement", "statistic": "probability"},
        ),
    log:
        "results/{experiment}/logs/plot_probability_of_improvement.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_probability_of_improvement.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        labels=TARGETS.compared_labels(),
        baselines=TARGETS.baselines(),
        code=code_of("lamflow.stages.plot_probability_of_improvement"),
    message:
        "Plot of methods: probability of improvement at {params.labels} labels"
    script:
        "../scripts/plot_probability_of_improvement.py"


rule plot_policy_returns:
    input:
        returns="results/{experiment}/summary/policy_returns.csv",
    output:
        plot=report(
            "results/{experiment}/plots/policy_returns.svg",
            caption="../report/policy_returns.rst",
            category="Learning curves",
            labels={"plot": "return of policies against steps", "environment": "all"},
        ),
    log:
        "results/{experiment}/logs/plot_policy_returns.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_policy_returns.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        labels=TARGETS.compared_labels(),
        code=code_of("lamflow.stages.plot_policy_returns"),
    message:
        "Plot of the returns of policies in training"
    script:
        "../scripts/plot_policy_returns.py"


rule plot_online_curves:
    input:
        curves=TARGETS.online_curves(EXPERIMENT.envs),
        episodes=stores_of("test"),
        published=published_table(),
    output:
        plot=report(
            "results/{experiment}/plots/online_curves.svg",
            caption="../report/online_curves.rst",
            category="Returns",
            labels={"plot": "return against environment steps", "statistic": "mean"},
        ),
    log:
        "results/{experiment}/logs/plot_online_curves.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_online_curves.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        bootstrap_samples=EXPERIMENT.evaluation.bootstrap_samples,
        code=code_of("lamflow.stages.plot_online_curves"),
        normalisers=code_of("lamflow.evaluation.normalisers"),
    message:
        "Plot of returns against environment steps"
    script:
        "../scripts/plot_online_curves.py"


rule plot_env_online_curves:
    input:
        curves=lambda wildcards: TARGETS.online_curves([wildcards.env]),
        episodes=["results/{experiment}/data/{env}/test.zarr"],
        published=published_table(),
    output:
        plot=report(
            "results/{experiment}/plots/{env}/online_curves.svg",
            caption="../report/online_curves.rst",
            category="Learning curves",
            labels={"plot": "methods trained online", "environment": "{env}"},
        ),
    log:
        "results/{experiment}/logs/plot_env_online_curves/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_env_online_curves/{env}.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        bootstrap_samples=EXPERIMENT.evaluation.bootstrap_samples,
        code=code_of("lamflow.stages.plot_online_curves"),
        normalisers=code_of("lamflow.evaluation.normalisers"),
    message:
        "Plot of returns against environment steps on {wildcards.env}"
    script:
        "../scripts/plot_online_curves.py"


rule plot_lam_curves:
    input:
        metrics=lambda wildcards: TARGETS.lam_metrics([wildcards.env]),
    output:
        plot=report(
            "results/{experiment}/plots/{env}/lam_curves.svg",
            caption="../report/lam_curves.rst",
            category="Learning curves",
            labels={"plot": "latent action models", "environment": "{env}"},
        ),
    log:
        "results/{experiment}/logs/plot_lam_curves/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_lam_curves/{env}.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        runs=lambda wildcards: TARGETS.lam_runs([wildcards.env]),
        code=code_of("lamflow.stages.plot_lam_curves"),
    message:
        "Plot of the learning curves of latent action models on {wildcards.env}"
    script:
        "../scripts/plot_lam_curves.py"


rule plot_policy_curves:
    input:
        metrics=lambda wildcards: TARGETS.policy_metrics(wildcards.env),
    output:
        plot=report(
            "results/{experiment}/plots/{env}/policy_curves.svg",
            caption="../report/policy_curves.rst",
            category="Learning curves",
            labels={"plot": "policies", "environment": "{env}"},
        ),
    log:
        "results/{experiment}/logs/plot_policy_curves/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_policy_curves/{env}.jsonl"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        runs=lambda wildcards: TARGETS.policy_runs(wildcards.env),
        code=code_of("lamflow.stages.plot_policy_curves"),
    message:
        "Plot of the learning curves of policies on {wildcards.env}"
    script:
        "../scripts/plot_policy_curves.py"


rule plot_latent_space:
    input:
        episodes="results/{experiment}/data/{env}/validation.zarr",
        latents=lambda wildcards: TARGETS.shown_latents(wildcards.env),
    output:
        plot=report(
            "results/{experiment}/plots/{env}/latent_space.svg",
            caption="../report/latent_space.rst",
            category="Latent actions",
            labels={"plot": "latent space", "environment": "{env}", "LAM": "all"},
        ),
    log:
        "results/{experiment}/logs/plot_latent_space/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_latent_space/{env}.jsonl"
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        code=code_of("lamflow.stages.plot_latent_space"),
    message:
        "Plot of the latent space on {wildcards.env}"
    script:
        "../scripts/plot_latent_space.py"


rule plot_latent_umap:
    input:
        episodes="results/{experiment}/data/{env}/validation.zarr",
        latents=lambda wildcards: TARGETS.shown_latents(wildcards.env),
    output:
        plot=report(
            "results/{experiment}/plots/{env}/latent_umap.svg",
            caption="../report/latent_umap.rst",
            category="Latent actions",
            labels={"plot": "latent neighbourhoods (UMAP)", "environment": "{env}", "LAM": "all"},
        ),
    log:
        "results/{experiment}/logs/plot_latent_umap/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_latent_umap/{env}.jsonl"
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        code=code_of("lamflow.stages.plot_latent_umap"),
    message:
        "Plot of the latent space on {wildcards.env} by UMAP"
    script:
        "../scripts/plot_latent_umap.py"


rule plot_code_actions:
    input:
        episodes="results/{experiment}/data/{env}/validation.zarr",
        latents=shown_latents,
    output:
        plot=report(
            "results/{experiment}/plots/{env}/{lam}/code_actions.svg",
            caption="../report/code_actions.rst",
            category="Latent actions",
            labels={"plot": "codes and actions", "environment": "{env}", "LAM": "{lam}"},
        ),
    log:
        "results/{experiment}/logs/plot_code_actions/{env}/{lam}.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_code_actions/{env}/{lam}.jsonl"
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        code=code_of("lamflow.stages.plot_code_actions"),
    message:
        "Plot of the codes of {wildcards.lam} and the true actions on {wildcards.env}"
    script:
        "../scripts/plot_code_actions.py"


rule plot_film_strip:
    input:
        model=shown_lam,
        episodes="results/{experiment}/data/{env}/validation.zarr",
        latents=shown_latents,
    output:
        plot=report(
            "results/{experiment}/plots/{env}/{lam}/film_strip.png",
            caption="../report/film_strip.rst",
            category="Latent actions",
            labels={"plot": "predictions under each code", "environment": "{env}", "LAM": "{lam}"},
        ),
    log:
        "results/{experiment}/logs/plot_film_strip/{env}/{lam}.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_film_strip/{env}/{lam}.jsonl"
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        environment=environment_facts,
        code=code_of("lamflow.stages.plot_film_strip", lam_parts),
    message:
        "Plot of the predictions of {wildcards.lam} under each code on {wildcards.env}"
    script:
        "../scripts/plot_film_strip.py"


rule plot_episode_film:
    input:
        episodes="results/{experiment}/data/{env}/test.zarr",
        files=lambda wildcards: TARGETS.film_files(wildcards.env),
    output:
        film=report(
            "results/{experiment}/plots/{env}/episode_film.gif",
            caption="../report/episode_film.rst",
            category="Episodes",
            labels={"plot": "demonstrator and agents", "environment": "{env}"},
        ),
    log:
        "results/{experiment}/logs/plot_episode_film/{env}.log",
    benchmark:
        "results/{experiment}/benchmarks/plot_episode_film/{env}.jsonl"
    conda:
        "../../envs/reporting.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
    params:
        agents=film_agents,
        shown_labels=TARGETS.compared_labels(),
        action_selection=EXPERIMENT.evaluation.action_selection,
        seed=EXPERIMENT.seeds[0],
        environment=environment_facts,
        code=method_code_of("lamflow.stages.plot_episode_film", "agent", methods=film_methods),
    message:
        "Film of demonstrator and agents on {wildcards.env}"
    script:
        "../scripts/plot_episode_film.py"
