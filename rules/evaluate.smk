# From the stages' probabilities to segmentations and scores.
rule merge:
    input:
        checked=lambda w: checked(GROUPS[w.group]),
        predictions=lambda w: merged_predictions(w.method, w.group),
    output:
        directory(RESULTS / "{method}/merged/{group}"),
    log:
        log_of("merge", "{method}", "{group}"),
    benchmark:
        benchmark_of("merge", "{method}", "{group}")
    conda:
        "../envs/renal.yaml"
    threads: CONFIGURATION.compute.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: volume_memory(GROUPS[w.group], threads, attempt),
        runtime=lambda w, attempt: 60 * attempt,
    params:
        code=lambda w: merging_code("merge", w.method),
        settings=lambda w: as_json(merging_of(w.method)),
    message:
        "Merging the stages of {wildcards.method} for {wildcards.group}"
    shell:
        "renal merge --checked {input.checked:q} --predictions {input.predictions:q}"
        " --settings {params.settings:q} --output {output:q} --threads {threads} --log {log:q}"


rule evaluate:
    input:
        checked=lambda w: checked(GROUPS[f"fold{w.fold}"]),
        segmentations=RESULTS / "{method}/merged/fold{fold}",
        truths=lambda w: evaluated_truths(w.method, f"fold{w.fold}"),
        located=lambda w: located_predictions(w.method, f"fold{w.fold}"),
    output:
        RESULTS / "{method}/scores/fold{fold}.csv",
    log:
        log_of("evaluate", "{method}", "fold{fold}"),
    benchmark:
        benchmark_of("evaluate", "{method}", "fold{fold}")
    conda:
        "../envs/renal.yaml"
    threads: CONFIGURATION.compute.prepare_threads
    resources:
        mem_mb=lambda w, threads, attempt: volume_memory(GROUPS[f"fold{w.fold}"], threads, attempt),
        runtime=lambda w, attempt: 60 * attempt,
    params:
        code=lambda w: merging_code("evaluation", w.method),
        settings=lambda w: as_json(merging_of(w.method)),
        located=lambda w, input: ["--located", input.located] if input.located else [],
    message:
        "Scoring {wildcards.method} on fold {wildcards.fold}"
    shell:
        "renal evaluate --checked {input.checked:q} --segmentations {input.segmentations:q}"
        " --truths {input.truths:q} --settings {params.settings:q} --name {wildcards.method}"
        " --fold {wildcards.fold} {params.located:q} --output {output:q} --threads {threads} --log {log:q}"


rule collect_scores:
    input:
        scores=[RESULTS / "{method}/scores" / f"fold{fold}.csv" for fold in FOLDS],
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
        code=code_hash("collect"),
    message:
        "Collecting the scores of {wildcards.method}"
    shell:
        "renal collect_scores --scores {input.scores:q} --output {output:q} --log {log:q}"


rule collect_segmentations:
    input:
        checked=checked(BATCHES),
        segmentations=[RESULTS / "{method}/merged" / group for group in GROUPS],
    output:
        directory(RESULTS / "{method}/segmentation"),
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
        code=code_hash("collect"),
    message:
        "Collecting the segmentations of {wildcards.method}"
    shell:
        "renal collect_segmentations --checked {input.checked:q} --segmentations {input.segmentations:q}"
        " --output {output:q} --log {log:q}"


rule write_submission:
    input:
        checked=checked(UNLABELLED),
        segmentations=RESULTS / "{method}/segmentation",
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
        code=code_hash("collect"),
    message:
        "Writing the challenge submission of {wildcards.method}"
    shell:
        "renal write_submission --checked {input.checked:q} --segmentations {input.segmentations:q}"
        " --output {output:q} --log {log:q}"


rule write_tables:
    input:
        scores=[scores_of(method) for method in METHODS],
    output:
        TABLES[:3],
        report(
            TABLES[3],
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
        code=code_hash("tables"),
        settings=json.dumps({m: recipe.as_values(recipe.row(RECIPES, m)) for m in METHODS}),
        folder=RESULTS / "tables",
    message:
        "Writing the cross-validation tables"
    shell:
        "renal write_tables --scores {input.scores:q} --settings {params.settings:q}"
        " --output {params.folder:q} --log {log:q}"
