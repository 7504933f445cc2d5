"""Cases segmented by the mean of some models; runs in nnU-Net's environment."""

import json
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from safetensors import safe_open

from renal.learn.nnunet.layout import PLANS, TRAINER


def predict(
    planned: str,
    models: list[str],
    images: dict[str, str],
    output: str,
    gpu: bool,
    threads: int,
) -> None:
    """Write ``<case>.nii.gz`` for each image, by the mean of the models' logits."""
    plans = PlansManager(json.loads(Path(planned, f"{PLANS}.json").read_text()))
    dataset = json.loads(Path(planned, "dataset.json").read_text())
    (configuration,) = plans.available_configurations
    chosen = plans.get_configuration(configuration)
    weights = []
    for model in models:
        with safe_open(model, "pt") as stored:
            weights.append({name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118
            axes = json.loads(stored.metadata()["mirrored_axes"])
    network = nnUNetTrainer.build_network_architecture(
        plans,
        chosen,
        determine_num_input_channels(plans, chosen, dataset),
        plans.get_label_manager(dataset).num_segmentation_heads,
        enable_deep_supervision=False,
    )
    network.load_state_dict(weights[0])
    if not gpu:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if gpu else "cpu")
    predictor = nnUNetPredictor(device=device, use_mirroring=axes is not None, allow_tqdm=False)
    predictor.manual_initialization(network, plans, chosen, weights, dataset, TRAINER, axes)
    several = max(1, threads // 2)
    predictor.predict_from_files(
        [[image] for image in images.values()],
        [str(Path(output, case)) for case in images],
        num_processes_preprocessing=several,
        num_processes_segmentation_export=several,
    )
