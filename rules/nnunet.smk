# Rows that nnU-Net plans, trains and applies itself, in an environment of its own. Its segmentations
# are taken over by `import_segmentations`, as those of other programs are.

from renal.learn.nnunet.memory import preparing_memory

# In the environment that Snakemake makes, nnU-Net lies beside the steps.
NNUNET = "python" if in_conda else str(plan.configuration.nnunet.python)


rule write_nnunet_dataset:
    input:
        checked=plan.checked(plan.labelled),
    output:
        directory(raw_folder(RESULTS, "{hash}")),
    log:
        log_of("write_nnunet_dataset", "{hash}"),
    benchmark:
        benchmark_of("write_nnunet_dataset", "{hash}")
    conda:
        "../envs/nnunet.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: plan.volume_memory(plan.labelled, threads, attempt),
        runtime=lambda w, attempt: 60 * attempt,
        files=FILES,
    params:
        checked=named({fold: plan.checked(plan.groups[fold]) for fold in plan.held_out}),
        labels=LABELS["learned"],
        code=plan.code("write_nnunet_dataset"),
        settings=lambda w: as_json(plan.nnunet_plannings[w.hash]),
    message:
        "Writing the labelled cases for nnU-Net"
    shell:
        "renal write_nnunet_dataset --files {resources.files:q} --checked {params.checked:q}"
        " --settings {params.settings:q} {params.labels:q}"
        " --output {output:q} --threads {threads} --log {log:q}"


rule plan_nnunet:
    input:
        dataset=raw_folder(RESULTS, "{hash}"),
    output:
        planned_folder(RESULTS, "{hash}") / f"{PLANS}.json",
    log:
        log_of("plan_nnunet", "{hash}"),
    benchmark:
        benchmark_of("plan_nnunet", "{hash}")
    conda:
        "../envs/nnunet.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: preparing_memory(threads, attempt),
        runtime=lambda w, attempt: 4 * 60 * attempt,
        files=FILES,
        nnunet=NNUNET,
    params:
        folder=lambda w, output: Path(output[0]).parent,
        code=plan.code("plan_nnunet"),
        settings=lambda w: as_json(plan.nnunet_plannings[w.hash]),
    message:
        "Planning by nnU-Net"
    shell:
        "renal plan_nnunet --files {resources.files:q} --dataset {input.dataset:q}"
        " --settings {params.settings:q} --python {resources.nnunet:q}"
        " --output {params.folder:q} --threads {threads} --log {log:q}"


# The folder is that of a configuration, as nnU-Net looks for it.
rule preprocess_nnunet:
    input:
        dataset=raw_folder(RESULTS, "{hash}"),
        plans=planned_folder(RESULTS, "{hash}") / f"{PLANS}.json",
    output:
        directory(planned_folder(RESULTS, "{hash}") / "{configuration}"),
    log:
        log_of("preprocess_nnunet", "{hash}", "{configuration}"),
    benchmark:
        benchmark_of("preprocess_nnunet", "{hash}", "{configuration}")
    wildcard_constraints:
        configuration="2d|3d_lowres|3d_fullres",
    conda:
        "../envs/nnunet.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: preparing_memory(threads, attempt),
        runtime=lambda w, attempt: 8 * 60 * attempt,
        files=FILES,
        nnunet=NNUNET,
    params:
        planned=lambda w, input: Path(input.plans).parent,
        code=plan.code("preprocess_nnunet"),
    message:
        "Preprocessing the labelled cases by nnU-Net"
    shell:
        "renal preprocess_nnunet --files {resources.files:q} --dataset {input.dataset:q}"
        " --planned {params.planned:q} --python {resources.nnunet:q}"
        " --output {output:q} --threads {threads} --log {log:q}"


# nnU-Net's checkpoints lie beside the outputs, undeclared, as the running state of `train` does.
rule train_nnunet:
    input:
        plans=lambda w: plan.nnunet_plans(w.method),
        prepared=lambda w: plan.nnunet_cases(w.method),
    output:
        model=RESULTS / "{method}" / STAGE / "fold{fold}/model.safetensors",
        history=RESULTS / "{method}" / STAGE / "fold{fold}/history.csv",
        run=RESULTS / "{method}" / STAGE / "fold{fold}/run.json",
    log:
        log_of("train", "{method}", STAGE, "fold{fold}"),
    benchmark:
        benchmark_of("train", "{method}", STAGE, "fold{fold}")
    wildcard_constraints:
        method=plan.rows_with("nnunet"),
    conda:
        "../envs/nnunet.yaml"
    threads: COMPUTE.train_threads
    resources:
        gpu=1,
        mem_mb=lambda w, threads, attempt: plan.nnunet_training_memory(w.method, threads, attempt),
        runtime=24 * 60,
        nnunet=NNUNET,
    params:
        code=plan.code("train_nnunet"),
        settings=lambda w: as_json(plan.recipes[w.method].nnunet.training),
        planned=lambda w, input: Path(input.plans).parent,
        folder=lambda w, output: Path(output.model).parent,
    message:
        "Training {wildcards.method} by nnU-Net, without fold {wildcards.fold}"
    shell:
        "renal train_nnunet --planned {params.planned:q} --prepared {input.prepared:q}"
        " --settings {params.settings:q} --fold {wildcards.fold}"
        " --name '{wildcards.method} fold {wildcards.fold}' --python {resources.nnunet:q}"
        " --output {params.folder:q} --threads {threads} --log {log:q}"


rule predict_nnunet:
    input:
        checked=lambda w: plan.checked(plan.groups[w.group]),
        plans=lambda w: plan.nnunet_plans(w.method),
        models=lambda w: plan.models_for(w.method, STAGE, w.group),
    output:
        directory(RESULTS / "{method}" / STAGE / "prediction/{group}"),
    log:
        log_of("predict", "{method}", STAGE, "{group}"),
    benchmark:
        benchmark_of("predict", "{method}", STAGE, "{group}")
    wildcard_constraints:
        method=plan.rows_with("nnunet"),
    conda:
        "../envs/nnunet.yaml"
    threads: COMPUTE.predict_threads
    resources:
        gpu=1,
        mem_mb=lambda w, threads, attempt: plan.nnunet_prediction_memory(w.method, threads, attempt),
        runtime=lambda w, attempt: 8 * 60 * attempt,
        files=FILES,
        nnunet=NNUNET,
    params:
        planned=lambda w, input: Path(input.plans).parent,
        code=plan.code("predict_nnunet"),
    message:
        "Predicting {wildcards.group} with {wildcards.method} by nnU-Net"
    shell:
        "renal predict_nnunet --files {resources.files:q} --checked {input.checked:q}"
        " --planned {params.planned:q} --models {input.models:q} --python {resources.nnunet:q}"
        " --output {output:q} --threads {threads} --log {log:q}"
