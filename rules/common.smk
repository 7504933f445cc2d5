# What is known before any file is read: configuration, recipes, cases, and the paths of results.
import json
import math
import re
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

ROOT = Path(workflow.current_basedir).parent
sys.path.insert(0, str(ROOT / "workflow"))

from renal import cases as case_list
from renal import recipe
from renal.errors import InputError
from renal.gpus import visible_gpus
from renal.slurm import refuse_orphans, refuse_unquotable
from renal.sources import code_hash, component_modules

# `renal` in a rule's shell command is the package that planned the job, installed or not, run by
# the same interpreter, unless Snakemake was asked to make a conda environment.
in_conda = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
python = "python" if in_conda else shlex.quote(sys.executable)
package = shlex.quote(str(ROOT / "workflow"))
shell.prefix(
    f'set -euo pipefail; renal() {{{{ PYTHONPATH={package} exec {python} -m renal "$@"; }}}}; '
)

try:
    CONFIGURATION = recipe.check_configuration(config)
    # Rows of the tables, and all recipes: rows may take stages from recipes that are none.
    METHODS = CONFIGURATION.methods
    RECIPES = recipe.load_methods(CONFIGURATION)
    recipe.check_sizes(CONFIGURATION, RECIPES)
    recipe.check_precision(CONFIGURATION, RECIPES)
    RESULTS = CONFIGURATION.results
    FOLDS = range(CONFIGURATION.folds.count)
    ASSIGNMENT = {
        "folds": CONFIGURATION.folds.count,
        "seed": CONFIGURATION.folds.seed,
        "batch_size": CONFIGURATION.batch_size,
    }
    CASES = case_list.assign(
        case_list.find_cases(CONFIGURATION.data.root, CONFIGURATION.data.exclude),
        known=case_list.read_assignments(RESULTS / "folds.csv", **ASSIGNMENT),
        **ASSIGNMENT,
    )
    LISTED_SPACINGS = case_list.listed_spacings(CONFIGURATION.data.root)
except InputError as error:
    sys.exit(f"error: {error}")

# Batch to its cases, and group to its batches: the cases that a fold holds out are predicted
# together, unlabelled ones batch by batch.
BATCHES = {}
GROUPS = {}
for case in CASES:
    BATCHES.setdefault(case.batch, []).append(case.name)
BATCHES = dict(sorted(BATCHES.items()))
for batch in BATCHES:
    fold, _, _ = batch.partition("-")
    GROUPS.setdefault(batch if fold == "unlabelled" else fold, []).append(batch)
LABELLED = [batch for batch in BATCHES if batch.startswith("fold")]
UNLABELLED = [batch for batch in BATCHES if batch not in LABELLED]
HELD_OUT = [f"fold{fold}" for fold in FOLDS]


def pretrained_of(stage):
    """The weights that a stage's network begins with; None for most."""
    return getattr(stage.training.network, "pretrained", None)


PRETRAINED = {
    str(pretrained.file): pretrained
    for method in RECIPES.values()
    for pretrained in map(pretrained_of, method.stages.values())
    if pretrained
}


wildcard_constraints:
    method="|".join(RECIPES),
    stage=r"[a-z][a-z0-9_]*",
    fold=r"\d+",
    batch=r"(fold\d+|unlabelled)-\d+",
    group=r"fold\d+|unlabelled-\d+",
    hash=r"[0-9a-f]{8}",
    weights="|".join(map(re.escape, PRETRAINED)) or "(?!)",
    region=r"[0-9a-z.]+-[0-9a-f]{8}",
    scope="|".join(["all", *METHODS]),


# Without a scheduler that hands them out, as many jobs use a GPU at once as there are GPUs.
if workflow.is_main_process and workflow.local_exec and "gpu" not in workflow.global_resources:
    if gpus := visible_gpus():
        workflow.register_resource("gpu", len(gpus))


def begin():
    """What comes before the first job of a run."""
    if not workflow.local_exec:
        try:
            refuse_unquotable(Path.cwd(), ROOT, CONFIGURATION.data.root, RESULTS)
            refuse_orphans(Path.cwd())
        except InputError as error:
            sys.exit(f"error: {error}")
    store_assignments()


def store_assignments():
    case_list.write_assignments(RESULTS / "folds.csv", CASES, **ASSIGNMENT)


def log_of(rule, *wildcards):
    """Path of a rule's log; the wildcards in the order of the path."""
    return str(RESULTS / "logs" / rule / ("-".join(wildcards) or rule)) + ".log"


def benchmark_of(rule, *wildcards):
    return str(RESULTS / "benchmarks" / rule / ("-".join(wildcards) or rule)) + ".tsv"


def as_json(settings):
    return json.dumps(recipe.as_values(settings))


# -- where a stage's input lies ----------------------------------------------------------------

# Paths are made from the settings, so that methods which share a step share its files.
BODIES, GRIDS, IMAGES, REGIONS = {}, {}, {}, {}


def sized(geometry, *parts):
    """A readable name of a grid, with a hash of its settings and some others."""
    axes = [
        str(size or (f"{spacing:g}mm" if spacing else "native"))
        for size, spacing in zip(geometry.sizes, geometry.spacings)
    ]
    return f"{'x'.join(axes)}-{recipe.settings_hash(*(parts or (geometry,)))}"


for method in RECIPES:
    for name, stage in RECIPES[method].stages.items():
        if stage.regions is None:
            grid = sized(stage.geometry)
            GRIDS[grid] = stage.geometry
            IMAGES[grid, recipe.settings_hash(stage.intensity)] = stage.intensity
            if stage.geometry.body is not None:
                BODIES[recipe.settings_hash(stage.geometry.body)] = stage.geometry.body
        else:
            for crop in (recipe.region_crop, recipe.true_region_crop):
                settings = crop(RECIPES, method, name)
                REGIONS[sized(settings.geometry, settings)] = settings


def stage_of(method, stage):
    return recipe.stage_of(RECIPES, method, stage)


def owners_of(method, stage):
    return recipe.owners_of(RECIPES, method, stage)


def true_inputs(method, stage, batches):
    """Prepared folders of whole volumes, or of true regions, that a stage learns from."""
    owner = owners_of(method, stage)[0]
    settings = stage_of(owner, stage)
    if settings.regions is None:
        grid = sized(settings.geometry)
        folder = RESULTS / "normalized" / grid / recipe.settings_hash(settings.intensity)
    else:
        crop = recipe.true_region_crop(RECIPES, owner, stage)
        folder = RESULTS / "true_roi" / sized(crop.geometry, crop)
    return [folder / batch for batch in batches]


def seen_inputs(method, stage, group):
    """Prepared folders that a stage predicts on: regions come from the earlier stage."""
    regions = RECIPES[method].stages[stage].regions
    if regions is None:
        return true_inputs(method, stage, GROUPS[group])
    crop = recipe.region_crop(RECIPES, method, stage)
    (owner,) = owners_of(method, regions.stage)
    return [RESULTS / owner / regions.stage / "roi" / sized(crop.geometry, crop) / group]


def training_batches(fold):
    return [batch for batch in LABELLED if not batch.startswith(f"fold{fold}-")]


def models_for(method, stage, group):
    """The model that has not seen a fold's cases; for unlabelled cases those of all folds."""
    folds = [group] if group in HELD_OUT else HELD_OUT
    return [RESULTS / method / stage / fold / "model.safetensors" for fold in folds]


def predictions_of(method, stage, group):
    """Folders of predictions whose mean is a stage's: its own, or those of other recipes."""
    return [RESULTS / owner / stage / "prediction" / group for owner in owners_of(method, stage)]


def merging_of(method):
    return recipe.merging(RECIPES, method)


def merged_predictions(method, group):
    return [
        folder
        for stage in merging_of(method).stages
        for folder in predictions_of(method, stage, group)
    ]


def evaluated_truths(method, group):
    """Prepared folders with the truth on the grid of each stage that is merged, and of the table."""
    settings = merging_of(method)
    return [
        folder
        for stage in dict.fromkeys([*settings.stages, settings.grid])
        for folder in true_inputs(method, stage, GROUPS[group])
    ]


def located_predictions(method, group):
    """Predictions of the stage whose regions decide what can be found; none in some methods."""
    stage = merging_of(method).located
    return predictions_of(method, stage, group)[:1] if stage else []


def checked(batches):
    return [RESULTS / "cases" / f"{batch}.json" for batch in batches]


def body_boxes(wildcards):
    body = GRIDS[wildcards.grid].body
    if body is None:
        return []
    return RESULTS / "body" / recipe.settings_hash(body) / f"{wildcards.batch}.json"


def training_of(wildcards):
    return RECIPES[wildcards.method].stages[wildcards.stage].training


def weights_of(wildcards):
    pretrained = pretrained_of(RECIPES[wildcards.method].stages[wildcards.stage])
    return [pretrained.file] if pretrained else []


def training_code(wildcards):
    return code_hash("training", *component_modules(training_of(wildcards)))


def prediction_code(wildcards):
    stage = RECIPES[wildcards.method].stages[wildcards.stage]
    components = f"networks.{stage.training.network.name}", f"inferers.{stage.inference.name}"
    return code_hash("inference", *components)


def merging_code(step, method):
    return code_hash(step, f"merges.{RECIPES[method].merge.name}")


BFLOAT16 = ["--bfloat16-on-cpu"] if CONFIGURATION.compute.bfloat16_on_cpu else []


# -- what a user asks for ------------------------------------------------------------------------

RANKS = ("best", "median", "worst")
TABLES = [RESULTS / "tables" / name for name in ("cv.csv", "cv.md", "cv.tex", "cv.html")]


def scores_of(method):
    return RESULTS / method / "scores.csv"


def segmentations_of(method):
    folders = ["segmentation"] + (["submission"] if UNLABELLED else [])
    return [RESULTS / method / folder for folder in folders]


def results_of(method):
    return [scores_of(method), *segmentations_of(method), *pictures_of(method)]


def methods_of(scope):
    return list(METHODS) if scope == "all" else [scope]


def pictures_of(method):
    folder = RESULTS / method / "pictures"
    curves = [folder / f"curves_{stage}.png" for stage in RECIPES[method].stages]
    located = [folder / "located.png"] if merging_of(method).located else []
    return [folder / f"{rank}.png" for rank in RANKS] + curves + located


# -- resources -------------------------------------------------------------------------------------


@cache
def largest_image_mb(batches):
    """Largest compressed image of some batches, in MB; 0 for files that are missing."""
    paths = [
        CONFIGURATION.data.root / name / case_list.IMAGE for b in batches for name in BATCHES[b]
    ]
    return max(path.stat().st_size if path.exists() else 0 for path in paths) / 2**20


def volume_memory(batches, threads, attempt):
    """MB for `threads` volumes at once: measured at most 7 times the compressed image each."""
    return int((300 + threads * (200 + 7 * largest_image_mb(tuple(batches)))) * attempt)


def activation_memory(network, size, batch):
    """MB of activations that training keeps on a CPU, for a batch of so many voxels (z, y, x)."""
    voxels = math.prod(size[1:] if network.flat else size)
    return 1.5 * network.kilobytes * voxels * batch / 1000


def training_memory(stage, attempt):
    training = stage.training
    size, _ = stage.seen
    activations = activation_memory(training.network, size, training.batch_size)
    return int((1500 + activations) * attempt)


def prediction_memory(stage, group, attempt):
    """MB for a patch, or some slices, and for the arrays of the volume or region around them."""
    _, size = stage.seen
    batch = getattr(stage.inference, "batch", 1)
    arrays = volume_memory(GROUPS[group], 1, 1)
    # Without gradients less than half is needed, measured in 32 bits.
    activations = activation_memory(stage.training.network, size, batch) / 2
    return int((1500 + activations + arrays) * attempt)
