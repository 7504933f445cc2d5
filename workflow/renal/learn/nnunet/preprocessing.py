"""Cases resampled and normalised as planned; runs in nnU-Net's environment."""

import json
from pathlib import Path

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from renal.learn.nnunet.layout import DATASET, PLANS


def preprocess(planned: str, configuration: str, threads: int) -> None:
    """Have nnU-Net write all cases of its data set into the folder of a configuration.

    Its preprocessor is called by itself: the function around it needs distutils, which Python 3.12
    no longer has.
    """
    plans = json.loads(Path(planned, f"{PLANS}.json").read_text())
    chosen = PlansManager(plans).get_configuration(configuration)
    preprocessor = chosen.preprocessor_class(verbose=False)
    preprocessor.show_progress_bar = False
    preprocessor.run(DATASET, configuration, PLANS, num_processes=threads)
