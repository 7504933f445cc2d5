# Tables and pictures for people, and for `snakemake --report`.
if plan.compared:

    rule compare:
        input:
            scores=[plan.scores_of(method) for method in plan.methods],
        output:
            plan.compared[:-1],
            report(
                plan.compared[-1],
                caption="../workflow/report/comparison.rst",
                category="Comparison",
                labels={"table": "differences, tests and ranks"},
            ),
        log:
            log_of("compare"),
        benchmark:
            benchmark_of("compare")
        conda:
            "../envs/renal.yaml"
        threads: 1
        resources:
            mem_mb=lambda w, attempt: 2000 * attempt,
            runtime=lambda w, attempt: 20 * attempt,
        params:
            labels=LABELS["shown"],
            code=plan.code("compare"),
            settings=lambda w: json.dumps(
                {
                    "rows": plan.rows,
                    "models": {name: models_of(plan.recipes, name) for name in plan.methods},
                }
            ),
            folder=RESULTS / "tables",
        message:
            "Comparing the rows"
        shell:
            "renal compare --scores {input.scores:q} --settings {params.settings:q}"
            " {params.labels:q} --output {params.folder:q} --log {log:q}"

    rule draw_comparison:
        input:
            tables=plan.compared,
            listed=RESULTS / "cases.csv",
        output:
            *(
                report(
                    path,
                    caption="../workflow/report/comparison.rst",
                    category="Comparison",
                    labels={"table": name},
                )
                for name, path in plan.drawn.items()
            ),
            [path.with_suffix(".svg") for path in plan.drawn.values()],
        log:
            log_of("draw_comparison"),
        benchmark:
            benchmark_of("draw_comparison")
        conda:
            "../envs/renal.yaml"
        threads: 1
        resources:
            mem_mb=lambda w, attempt: 2000 * attempt,
            runtime=lambda w, attempt: 20 * attempt,
        params:
            labels=LABELS["shown"],
            code=plan.code("draw_comparison"),
            folder=RESULTS / "tables",
        message:
            "Drawing the comparison"
        shell:
            "renal draw_comparison --tables {params.folder:q} --listed {input.listed:q}"
            " {params.labels:q} --output {params.folder:q} --log {log:q}"

    rule draw_gallery:
        input:
            checked=plan.checked(plan.labelled),
            scores=[plan.scores_of(method) for method in plan.methods],
            segmentations=plan.collected,
        output:
            report(
                *plan.gallery,
                caption="../workflow/report/comparison.rst",
                category="Comparison",
                labels={"table": "worst"},
            ),
            plan.gallery[0].with_suffix(".svg"),
        log:
            log_of("draw_gallery"),
        benchmark:
            benchmark_of("draw_gallery")
        conda:
            "../envs/renal.yaml"
        threads: 1
        resources:
            mem_mb=lambda w, attempt: plan.volume_memory(plan.labelled, 1, attempt) + 1000,
            runtime=lambda w, attempt: 30 * attempt,
            files=FILES,
        params:
            code=plan.code("draw_gallery"),
            scores=lambda w, input: by_row(input.scores),
            segmentations=lambda w, input: by_row(Path(seal).parent for seal in input.segmentations),
            folder=RESULTS / "tables",
            labels=LABELS["shown"],
        message:
            "Drawing the worst cases as all rows see them"
        shell:
            "renal draw_gallery --files {resources.files:q} --checked {input.checked:q}"
            " --scores {params.scores:q} --segmentations {params.segmentations:q}"
            " {params.labels:q} --output {params.folder:q} --log {log:q}"


rule draw_overlays:
    input:
        checked=plan.checked(plan.labelled),
        scores=RESULTS / "{method}/scores.csv",
        segmentations=RESULTS / "{method}/segmentation" / SEAL,
    output:
        *(
            report(
                RESULTS / "{method}/pictures" / f"{rank}.png",
                caption="../workflow/report/overlays.rst",
                category="Overlays",
                labels={"method": "{method}", "case": rank},
            )
            for rank in RANKS
        ),
    log:
        log_of("draw_overlays", "{method}"),
    benchmark:
        benchmark_of("draw_overlays", "{method}")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: plan.volume_memory(plan.labelled, 1, attempt) + 500,
        runtime=lambda w, attempt: 30 * attempt,
        files=FILES,
    params:
        labels=LABELS["shown"],
        code=plan.code("draw_overlays"),
        segmentations=lambda w, input: Path(input.segmentations).parent,
        folder=lambda w, output: Path(output[0]).parent,
    message:
        "Drawing the best, median and worst case of {wildcards.method}"
    shell:
        "renal draw_overlays --files {resources.files:q} --checked {input.checked:q}"
        " --scores {input.scores:q}"
        " --segmentations {params.segmentations:q} {params.labels:q} --output {params.folder:q} --log {log:q}"


rule draw_curves:
    input:
        histories=[RESULTS / "{method}/{stage}" / fold / "history.csv" for fold in plan.held_out],
    output:
        report(
            RESULTS / "{method}/pictures/curves_{stage}.png",
            caption="../workflow/report/curves.rst",
            category="Training curves",
            labels={"method": "{method}", "stage": "{stage}"},
        ),
    log:
        log_of("draw_curves", "{method}", "{stage}"),
    benchmark:
        benchmark_of("draw_curves", "{method}", "{stage}")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    params:
        code=plan.code("draw_curves"),
    message:
        "Drawing the training curves of {wildcards.method}, stage {wildcards.stage}"
    shell:
        "renal draw_curves --histories {input.histories:q}"
        " --name '{wildcards.method}, stage {wildcards.stage}'"
        " --output {output:q} --log {log:q}"


# For methods that look at regions: what was lost before it was looked at.
rule draw_located:
    input:
        scores=RESULTS / "{method}/scores.csv",
    output:
        report(
            RESULTS / "{method}/pictures/located.png",
            caption="../workflow/report/located.rst",
            category="Located regions",
            labels={"method": "{method}"},
        ),
    log:
        log_of("draw_located", "{method}"),
    benchmark:
        benchmark_of("draw_located", "{method}")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 10 * attempt,
    params:
        labels=LABELS["shown"],
        code=plan.code("draw_located"),
    message:
        "Drawing what the regions of {wildcards.method} hold"
    shell:
        "renal draw_located --scores {input.scores:q} --name {wildcards.method}"
        " {params.labels:q} --output {output:q} --log {log:q}"


rule write_page:
    input:
        checked=plan.checked(plan.labelled),
        scores=[plan.scores_of(method) for method in plan.methods],
        segmentations=plan.collected,
        tables=[*plan.tables, *plan.compared],
        pictures=plan.page_pictures,
    output:
        RESULTS / "report/index.html",
    log:
        log_of("write_page"),
    benchmark:
        benchmark_of("write_page")
    conda:
        "../envs/renal.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: plan.volume_memory(plan.labelled, 1, attempt) + 1000,
        runtime=lambda w, attempt: 60 * attempt,
        files=FILES,
    params:
        code=plan.code("write_page"),
        settings=json.dumps(plan.rows),
        scores=lambda w, input: by_row(input.scores),
        segmentations=lambda w, input: by_row(Path(seal).parent for seal in input.segmentations),
        folder=RESULTS / "tables",
        labels=LABELS["shown"],
    message:
        "Writing the page to look at"
    shell:
        "renal write_page --files {resources.files:q} --checked {input.checked:q}"
        " --scores {params.scores:q} --segmentations {params.segmentations:q}"
        " --settings {params.settings:q} --tables {params.folder:q}"
        " --pictures {input.pictures:q} {params.labels:q} --output {output:q} --log {log:q}"
