# What the rules ask about rows that are made of other rows or by another program.
def rows_with(*sections):
    """A pattern of the rows whose recipes have one of some sections."""
    names = [name for name, r in plan.recipes.items() if any(getattr(r, s) for s in sections)]
    return "|".join(names) or "(?!)"


def averaged(method, group):
    """Folders of predictions by row.stage."""
    return {
        f"{row}.{stage}": paths
        for row in plan.recipes[method].rows
        for stage, paths in plan.merged_predictions(row, group).items()
    }


def external_of(method, group):
    """What another program left: the folder of nnU-Net's predictions, or all files that there are.

    The step tells which cases have none.
    """
    if plan.recipes[method].nnunet:
        return [plan.predicted(method, STAGE, group)]
    return [
        path
        for batch in plan.groups[group]
        for case in plan.batches[batch]
        for path in external_files(plan.recipes, method, case)
    ]


def nnunet_plans(method):
    planning = plan.recipes[method].nnunet.planning
    return planned_folder(RESULTS, settings_hash(planning)) / f"{PLANS}.json"


def nnunet_cases(method):
    return nnunet_plans(method).with_name(plan.recipes[method].nnunet.planning.configuration)
