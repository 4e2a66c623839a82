"""Stop 7: rollouts on held-out levels; where nobody plays, answers to the actions of held-out recordings."""


rule evaluate_agents:
    input:
        unpack(inputs_of("agent")),
        unpack(demonstrated_levels),
    output:
        returns="results/{experiment}/evaluation/{env}/{method}/seed{seed}/returns.csv",
    log:
        "results/{experiment}/logs/evaluate_agents/{env}/{method}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/evaluate_agents/{env}/{method}/seed{seed}.jsonl"
    wildcard_constraints:
        env=any_of(TARGETS.played_envs()),
    conda:
        "../../envs/simulation.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
        gpu=1,
    params:
        settings=method_settings_in("agent"),
        evaluation=rollout_settings,
        collection=collection_settings,
        labels=agent_labels,
        label_draws=agent_label_draws,
        environment=environment_facts,
        code=method_code_of("lamflow.stages.evaluate_agents", "agent", also=tuned_agent),
    message:
        "Rollouts of {wildcards.method} on {wildcards.env}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate_agents.py"


rule score_actions:
    input:
        unpack(inputs_of("scores")),
    output:
        actions="results/{experiment}/evaluation/{env}/{method}/seed{seed}/actions.csv",
    log:
        "results/{experiment}/logs/score_actions/{env}/{method}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/score_actions/{env}/{method}/seed{seed}.jsonl"
    wildcard_constraints:
        env=any_of(TARGETS.scored_envs()),
        method=any_of(TARGETS.methods_with("scores")),
    conda:
        "../../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=job_mb,
        runtime=job_minutes,
        gpu=1,
    params:
        settings=method_settings_in("scores"),
        labels=agent_labels,
        label_draws=agent_label_draws,
        environment=environment_facts,
        code=method_code_of("lamflow.stages.score_actions", "scores", also=lams_of_method),
    message:
        "Answers of {wildcards.method} to recorded actions of {wildcards.env}, seed {wildcards.seed}"
    script:
        "../scripts/score_actions.py"
