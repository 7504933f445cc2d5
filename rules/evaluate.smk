# From the stages' probabilities to segmentations and scores.
rule merge:
    input:
        checked=lambda w: plan.checked(plan.groups[w.group]),
        predictions=lambda w: sum(plan.merged_predictions(w.method, w.group).values(), []),
    output:
        directory(RESULTS / "{method}/merged/{group}"),
    log:
        log_of("merge", "{method}", "{group}"),
    benchmark:
        benchmark_of("merge", "{method}", "{group}")
    wildcard_constraints:
        method=plan.rows_with("merge"),
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
        predictions=lambda w: named(plan.merged_predictions(w.method, w.group)),
        code=lambda w: plan.code("merge", w.method),
        settings=lambda w: as_json(plan.merging(w.method)),
    message:
        "Merging the stages of {wildcards.method} for {wildcards.group}"
    shell:
        "renal merge --files {resources.files:q} --checked {input.checked:q}"
        " --predictions {params.predictions:q}"
        " --settings {params.settings:q} {params.labels:q} --output {output:q} --threads {threads} --log {log:q}"


rule evaluate:
    input:
        checked=lambda w: plan.checked(plan.groups[w.group]),
        segmentations=RESULTS / "{method}/merged/{group}",
        truths=lambda w: sum(plan.evaluated_truths(w.method, w.group).values(), []),
        located=lambda w: plan.located_predictions(w.method, w.group),
        predictions=lambda w: sum(plan.evaluated_predictions(w.method, w.group).values(), []),
    output:
        RESULTS / "{method}/scores/{group}.csv",
    log:
        log_of("evaluate", "{method}", "{group}"),
    benchmark:
        benchmark_of("evaluate", "{method}", "{group}")
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
        labels=LABELS["scored"],
        truths=lambda w, input: (
            ["--truths", *named(plan.evaluated_truths(w.method, w.group))] if input.truths else []
        ),
        code=lambda w: plan.code("evaluate", w.method),
        settings=lambda w: as_json(plan.merging(w.method)),
        located=lambda w, input: ["--located", input.located] if input.located else [],
        predictions=lambda w, input: (
            ["--predictions", *named(plan.evaluated_predictions(w.method, w.group))]
            if input.predictions
            else []
        ),
        # Tests have no fold: no model has seen them.
        fold=lambda w: (
            ["--fold", w.group.removeprefix("fold")] if w.group in plan.held_out else []
        ),
    message:
        "Scoring {wildcards.method} on {wildcards.group}"
    shell:
        "renal evaluate --files {resources.files:q} --checked {input.checked:q}"
        " --segmentations {input.segmentations:q}"
        " {params.truths:q} --settings {params.settings:q} --name {wildcards.method}"
        " {params.fold:q} {params.located:q} {params.predictions:q} {params.labels:q}"
        " --output {output:q} --threads {threads} --log {log:q}"


rule collect_scores:
    input:
        checked=plan.checked(plan.labelled),
        scores=[RESULTS / "{method}/scores" / f"{fold}.csv" for fold in plan.held_out],
    output:
        report(
            RESULTS / "{method}/scores.csv",
            caption="../workflow/report/scores.rst",
            category="Scores",
            labels={"method": "{method}"},
        ),
    log:
        log_of("collect_scores", "{method}"),
    benchmark:
        benchmark_of("collect_scores", "{method}")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 500 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    params:
        code=plan.code("collect_scores"),
    message:
        "Collecting the scores of {wildcards.method}"
    shell:
        "renal collect_scores --checked {input.checked:q} --scores {input.scores:q}"
        " --output {output:q} --log {log:q}"


rule collect_test_scores:
    input:
        checked=plan.checked(plan.tested),
        scores=[RESULTS / "{method}/scores" / f"{batch}.csv" for batch in plan.tested],
    output:
        report(
            RESULTS / "{method}/test_scores.csv",
            caption="../workflow/report/scores.rst",
            category="Scores",
            labels={"method": "{method}, test set"},
        ),
    log:
        log_of("collect_test_scores", "{method}"),
    benchmark:
        benchmark_of("collect_test_scores", "{method}")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 500 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    params:
        code=plan.code("collect_scores"),
    message:
        "Collecting the test scores of {wildcards.method}"
    shell:
        "renal collect_scores --checked {input.checked:q} --scores {input.scores:q}"
        " --output {output:q} --log {log:q}"


rule collect_segmentations:
    input:
        checked=plan.checked(plan.batches),
        segmentations=[RESULTS / "{method}/merged" / group for group in plan.groups],
    output:
        # Not the folder, which Snakemake would delete beforehand with what people corrected in it.
        RESULTS / "{method}/segmentation" / SEAL,
    log:
        log_of("collect_segmentations", "{method}"),
    benchmark:
        benchmark_of("collect_segmentations", "{method}")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 500 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    params:
        checked=named({group: plan.checked(batches) for group, batches in plan.groups.items()}),
        segmentations=lambda w, input: named(
            {group: [path] for group, path in zip(plan.groups, input.segmentations)}
        ),
        folder=lambda w, output: Path(output[0]).parent,
        code=plan.code("collect_segmentations"),
    message:
        "Collecting the segmentations of {wildcards.method}"
    shell:
        "renal collect_segmentations --checked {params.checked:q} --segmentations {params.segmentations:q}"
        " --output {params.folder:q} --log {log:q}"


rule write_submission:
    input:
        checked=plan.checked(plan.unlabelled),
        segmentations=RESULTS / "{method}/segmentation" / SEAL,
    output:
        directory(RESULTS / "{method}/submission"),
    log:
        log_of("write_submission", "{method}"),
    benchmark:
        benchmark_of("write_submission", "{method}")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 500 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    params:
        folder=lambda w, input: Path(input.segmentations).parent,
        code=plan.code("write_submission"),
    message:
        "Writing the challenge submission of {wildcards.method}"
    shell:
        "renal write_submission --checked {input.checked:q} --segmentations {params.folder:q}"
        " --output {output:q} --log {log:q}"


# Where the data have what several annotators outlined: how far these agree among themselves.
if plan.annotators:

    rule score_annotators:
        input:
            checked=plan.checked(plan.labelled + plan.tested),
        output:
            plan.annotators,
        log:
            log_of("score_annotators"),
        benchmark:
            benchmark_of("score_annotators")
        conda:
            "../envs/renal.yaml"
        threads: COMPUTE.prepare_threads
        resources:
            mem_mb=lambda w, threads, attempt: plan.volume_memory(
                plan.labelled + plan.tested, threads, attempt
            ),
            runtime=lambda w, attempt: 120 * attempt,
            files=FILES,
        params:
            code=plan.code("score_annotators"),
            labels=LABELS["scored"],
            # As those of `validate`.
            stamps=plan.outlines,
        message:
            "Scoring annotators among themselves"
        shell:
            "renal score_annotators --files {resources.files:q} --checked {input.checked:q}"
            " {params.labels:q} --output {output:q} --threads {threads} --log {log:q}"


TOLD_ANNOTATORS = ["--annotators", *plan.annotators] if plan.annotators else []


rule write_tables:
    input:
        scores=[plan.scores_of(method) for method in plan.methods],
        annotators=plan.annotators,
    output:
        plan.tables[:3],
        report(
            plan.tables[3],
            caption="../workflow/report/tables.rst",
            category="Cross-validation",
            labels={"table": "mean (SD) over folds"},
        ),
    log:
        log_of("write_tables"),
    benchmark:
        benchmark_of("write_tables")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    params:
        labels=LABELS["shown"],
        code=plan.code("write_tables"),
        annotators=TOLD_ANNOTATORS,
        settings=json.dumps(plan.rows),
        folder=RESULTS / "tables",
    message:
        "Writing the cross-validation tables"
    shell:
        "renal write_tables --scores {input.scores:q} {params.annotators:q} --settings {params.settings:q}"
        " {params.labels:q} --output {params.folder:q} --log {log:q}"


rule write_test_tables:
    input:
        scores=[plan.test_scores_of(method) for method in plan.methods],
        annotators=plan.annotators,
    output:
        plan.test_tables[:-1],
        report(
            plan.test_tables[-1],
            caption="../workflow/report/tables.rst",
            category="Test set",
            labels={"table": "mean over cases"},
        ),
    log:
        log_of("write_test_tables"),
    benchmark:
        benchmark_of("write_test_tables")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    params:
        code=plan.code("write_test_tables"),
        labels=LABELS["shown"],
        annotators=TOLD_ANNOTATORS,
        settings=json.dumps(plan.tested_rows),
        folder=RESULTS / "tables",
    message:
        "Writing the tables of the test set"
    shell:
        "renal write_test_tables --scores {input.scores:q} {params.annotators:q} --settings {params.settings:q}"
        " {params.labels:q} --output {params.folder:q} --log {log:q}"
