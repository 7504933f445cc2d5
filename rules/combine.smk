# Rows that train nothing: of other rows' probabilities or segmentations, and of other programs.
# They leave what `merge` leaves, so what follows does not know them from other rows.
rule average:
    input:
        checked=lambda w: plan.checked(plan.groups[w.group]),
        predictions=lambda w: sum(plan.averaged(w.method, w.group).values(), []),
    output:
        directory(RESULTS / "{method}/merged/{group}"),
    log:
        log_of("average", "{method}", "{group}"),
    benchmark:
        benchmark_of("average", "{method}", "{group}")
    wildcard_constraints:
        method=plan.rows_with("average"),
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: plan.volume_memory(
            plan.groups[w.group], threads, attempt
        ),
        runtime=lambda w, attempt: 60 * attempt,
        files=FILES,
    params:
        labels=LABELS["learned"],
        predictions=lambda w: named(plan.averaged(w.method, w.group)),
        code=plan.code("average"),
        settings=lambda w: as_json(averaging(plan.recipes, w.method, plan.labels)),
    message:
        "Averaging the rows of {wildcards.method} for {wildcards.group}"
    shell:
        "renal average --files {resources.files:q} --checked {input.checked:q}"
        " --predictions {params.predictions:q}"
        " --settings {params.settings:q} {params.labels:q} --output {output:q} --threads {threads} --log {log:q}"


rule vote:
    input:
        checked=lambda w: plan.checked(plan.groups[w.group]),
        segmentations=lambda w: [
            RESULTS / row / "merged" / w.group for row in plan.recipes[w.method].rows
        ],
    output:
        directory(RESULTS / "{method}/merged/{group}"),
    log:
        log_of("vote", "{method}", "{group}"),
    benchmark:
        benchmark_of("vote", "{method}", "{group}")
    wildcard_constraints:
        method=plan.rows_with("vote"),
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: plan.volume_memory(
            plan.groups[w.group], threads, attempt
        ),
        runtime=lambda w, attempt: 60 * attempt,
        files=FILES,
    params:
        labels=LABELS["learned"],
        segmentations=lambda w, input: named(
            {row: [path] for row, path in zip(plan.recipes[w.method].rows, input.segmentations)}
        ),
        code=plan.code("vote"),
        settings=lambda w: as_json(voting(plan.recipes, w.method, plan.labels)),
    message:
        "Letting the rows of {wildcards.method} vote for {wildcards.group}"
    shell:
        "renal vote --files {resources.files:q} --checked {input.checked:q}"
        " --segmentations {params.segmentations:q}"
        " --settings {params.settings:q} {params.labels:q} --output {output:q} --threads {threads} --log {log:q}"


# What is wrong with these files is told early: a run stops for it before it has trained for long.
rule import_segmentations:
    input:
        checked=lambda w: plan.checked(plan.groups[w.group]),
        files=lambda w: plan.external_inputs(w.method, w.group),
    output:
        directory(RESULTS / "{method}/merged/{group}"),
    log:
        log_of("import_segmentations", "{method}", "{group}"),
    benchmark:
        benchmark_of("import_segmentations", "{method}", "{group}")
    wildcard_constraints:
        method=plan.rows_with("external", "nnunet"),
    priority: 5
    conda:
        "../envs/renal.yaml"
    threads: COMPUTE.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: plan.volume_memory(
            plan.groups[w.group], threads, attempt
        ),
        runtime=lambda w, attempt: 60 * attempt,
        files=FILES,
    params:
        labels=LABELS["learned"],
        code=plan.code("import_segmentations"),
        settings=lambda w: as_json(imported(plan.recipes[w.method], plan.labels)),
        # As inputs they are compared by age alone.
        stamps=lambda w: (
            []
            if plan.recipes[w.method].nnunet
            else stamps({str(path): path for path in plan.external_inputs(w.method, w.group)})
        ),
        # What a step of ours wrote has a seal, which is compared.
        folder=lambda w, input: (
            ["--segmentations", input.files] if plan.recipes[w.method].nnunet else []
        ),
    message:
        "Taking over the segmentations of {wildcards.method} for {wildcards.group}"
    shell:
        "renal import_segmentations --files {resources.files:q} --checked {input.checked:q}"
        " --settings {params.settings:q} {params.labels:q} {params.folder:q}"
        " --output {output:q} --threads {threads} --log {log:q}"
