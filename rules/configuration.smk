# Before Snakemake reads the configuration: it takes the last of a key that is said twice, also in a
# profile, and tells what it cannot read without the file's name.
import atexit
import gc
import sys
from pathlib import Path

# None of what is loaded by now is garbage before the end, and little of a plan is. Looking through it
# again and again, and at the end, would take a fifth of each start of Snakemake, which every job has.
# A workflow that has this one as a module gets the same threshold.
gc.freeze()
gc.set_threshold(100_000, 50, 50)
atexit.register(gc.freeze)

ROOT = Path(workflow.current_basedir).parent
sys.path.insert(0, str(ROOT / "workflow"))

from renal.cluster.commands import files_of_arguments
from renal.errors import InputError
from renal.recipe.strict_yaml import read_mapping

if workflow.is_main_process:
    try:
        # Those of --configfile are among Snakemake's, which knows where it was started.
        _, profiles = files_of_arguments(sys.argv[1:], ROOT)
        for file in [*workflow.configfiles, *profiles]:
            read_mapping(Path(file))
        # Where this workflow is a module of another one, that one brings the configuration.
        if not workflow.modifier.skip_configfile:
            read_mapping(ROOT / "config.yaml")
    except InputError as error:
        sys.exit(f"error: {error}")
