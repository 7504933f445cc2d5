# What the rules ask about rows that are made of other rows or of another program's files.
def rows_with(section):
    """A pattern of the rows whose segmentations a section of the recipe makes."""
    names = [name for name, recipe in plan.recipes.items() if getattr(recipe, section)]
    return "|".join(names) or "(?!)"


def averaged(method, group):
    """Folders of predictions by row.stage."""
    return {
        f"{row}.{stage}": paths
        for row in plan.recipes[method].rows
        for stage, paths in plan.merged_predictions(row, group).items()
    }


def external_of(method, group):
    """The files of another program that there are; the step tells which cases have none."""
    return [
        path
        for batch in plan.groups[group]
        for case in plan.batches[batch]
        for path in external_files(plan.recipes, method, case)
    ]
