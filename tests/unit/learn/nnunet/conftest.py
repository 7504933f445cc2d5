"""What stands in for nnU-Net where it is not installed: what is called of it, on recorded files."""

import json
import os
import shutil
import sys
import types
from copy import deepcopy
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

# What nnU-Net 2.8.1 planned for six phantoms, in part.
FULL = {
    "data_identifier": "nnUNetPlans_3d_fullres",
    "batch_size": 2,
    "patch_size": [64, 56, 64],
    "spacing": [5.84, 4.0, 5.84],
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {"n_stages": 4, "features_per_stage": [32, 64, 128, 256]},
    },
    "batch_dice": False,
}
PLANS = {
    "dataset_name": "Dataset001_renal",
    "plans_name": "nnUNetPlans",
    "configurations": {
        "2d": {"batch_size": 12},
        "3d_fullres": FULL,
        "3d_cascade_fullres": {"inherits_from": "3d_fullres"},
    },
}


class PlansManager:
    def __init__(self, plans: dict):
        self.plans = plans

    def get_configuration(self, name: str) -> types.SimpleNamespace:
        configuration = deepcopy(self.plans["configurations"][name])
        return types.SimpleNamespace(
            configuration=configuration,
            data_identifier=configuration.get("data_identifier"),
            preprocessor_class=Preprocessor,
        )

    @property
    def available_configurations(self) -> list[str]:
        return list(self.plans["configurations"])

    def get_label_manager(self, dataset_json: dict) -> types.SimpleNamespace:
        """As there: regions have maps of their own, and values have one of the background, too."""
        values = dataset_json["labels"].values()
        regions = any(isinstance(value, list) and len(value) > 1 for value in values)
        return types.SimpleNamespace(num_segmentation_heads=len(values) - regions)


class Preprocessor:
    """nnU-Net's preprocessor, which finds all that it needs in nnU-Net's folders."""

    def __init__(self, verbose=True):
        self.verbose, self.show_progress_bar = verbose, True

    def run(self, dataset_name_or_id, configuration_name, plans_identifier, num_processes):
        assert num_processes >= 1
        if self.verbose or self.show_progress_bar:
            print("preprocessing")
        raw = Path(os.environ["nnUNet_raw"], dataset_name_or_id)  # noqa: SIM112
        folder = Path(os.environ["nnUNet_preprocessed"], dataset_name_or_id)  # noqa: SIM112
        plans = json.loads((folder / f"{plans_identifier}.json").read_text())
        output = folder / PlansManager(plans).get_configuration(configuration_name).data_identifier
        output.mkdir(exist_ok=True)
        for case, files in json.loads((raw / "dataset.json").read_text())["dataset"].items():
            shutil.copy(raw / files["label"], output / f"{case}.b2nd")


class Predictor:
    """nnU-Net's predictor: logits of all models are added, and the largest one is written."""

    def __init__(self, use_mirroring=True, device=None, allow_tqdm=True):
        self.mirrors, self.device, self.allow_tqdm = use_mirroring, device, allow_tqdm
        made.append(self)

    def manual_initialization(
        self, network, plans, configuration, parameters, dataset, trainer, allowed_axes
    ):
        self.network, self.parameters, self.trainer = network, parameters, trainer
        self.axes = allowed_axes

    def predict_from_files(
        self, images, truncated, *, num_processes_preprocessing, num_processes_segmentation_export
    ):
        self.processes = (num_processes_preprocessing, num_processes_segmentation_export)
        for (image,), path in zip(images, truncated, strict=True):
            read = nib.load(image)
            voxels = torch.from_numpy(read.get_fdata(dtype=np.float32))[None, None]
            logits = 0
            for weights in self.parameters:
                self.network.load_state_dict(weights)
                logits = logits + self.network(voxels)[0].detach()
            label = logits.argmax(0).numpy().astype(np.uint8)
            nib.save(nib.Nifti1Image(label, read.affine), f"{path}.nii.gz")


made: list[Predictor] = []


class Logger:
    def __init__(self):
        self.values: dict[str, list] = {}

    def log(self, key, value, epoch):
        self.values.setdefault(key, [])[epoch:] = [value]

    def get_value(self, key, step):
        return self.values[key] if step is None else self.values[key][step]


class Trainer:
    """nnU-Net's trainer, as far as ours leans on it; its loss falls by one tenth an epoch."""

    def __init__(self, plans, configuration, fold, dataset_json, device):
        plans.pop("continue_training")  # a KeyError without it, as there
        name = f"{type(self).__name__}__{plans['plans_name']}__{configuration}"
        folder = Path(os.environ["nnUNet_results"], plans["dataset_name"], name, f"fold_{fold}")  # noqa: SIM112
        folder.mkdir(parents=True, exist_ok=True)
        self.output_folder, self.fold, self.device = str(folder), fold, device
        self.logger, self.network, self.current_epoch = Logger(), torch.nn.Linear(2, 1), 0
        self.inference_allowed_mirroring_axes = None

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):
        self.inference_allowed_mirroring_axes = (0, 1, 2)
        return (-0.5, 0.5), False, [64, 64, 64], (0, 1, 2)

    @staticmethod
    def build_network_architecture(
        plans, configuration, num_input_channels, num_output_channels, enable_deep_supervision=True
    ):
        assert not enable_deep_supervision  # its network would give a list
        return torch.nn.Conv3d(num_input_channels, num_output_channels, 1)

    def save_checkpoint(self, filename):
        state = {"current_epoch": self.current_epoch + 1, "logging": self.logger.values}
        torch.save(state | {"network_weights": self.network.state_dict()}, filename)

    def load_checkpoint(self, filename):
        stored = torch.load(filename, weights_only=False)
        self.current_epoch, self.logger.values = stored["current_epoch"], stored["logging"]
        self.network.load_state_dict(stored["network_weights"])

    def on_epoch_end(self):
        self.logger.log("epoch_end_timestamps", 10.0 * self.current_epoch + 9, self.current_epoch)
        folder = Path(self.output_folder)
        if (
            self.current_epoch + 1
        ) % self.save_every == 0 and self.current_epoch + 1 != self.num_epochs:
            self.save_checkpoint(str(folder / "checkpoint_latest.pth"))
        self.save_checkpoint(str(folder / "checkpoint_best.pth"))
        self.current_epoch += 1

    def run_training(self):
        self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        for epoch in range(self.current_epoch, self.num_epochs):
            self.logger.log("epoch_start_timestamps", 10.0 * epoch, epoch)
            self.logger.log("lrs", 0.01, epoch)
            self.logger.log("train_losses", 1 - epoch / 10, epoch)
            self.logger.log("val_losses", 2 - epoch / 10, epoch)
            self.logger.log("mean_fg_dice", epoch / 10, epoch)
            self.on_epoch_end()
        self.current_epoch -= 1
        self.save_checkpoint(str(Path(self.output_folder, "checkpoint_final.pth")))
        self.current_epoch += 1
        Path(self.output_folder, "checkpoint_latest.pth").unlink(missing_ok=True)


def extract_fingerprints(datasets, num_processes, show_progress_bar):
    assert datasets == [1]


def plan_experiments(datasets, planner, overwrite_plans_name):
    folder = Path(os.environ["nnUNet_preprocessed"], "Dataset001_renal")  # noqa: SIM112
    plans = PLANS | {"experiment_planner_used": planner, "plans_name": overwrite_plans_name}
    (folder / f"{overwrite_plans_name}.json").write_text(json.dumps(plans))


# Modules of ours that import nnU-Net.
INSIDE = ("planning", "preprocessing", "training", "prediction")


@pytest.fixture
def nnunet(monkeypatch) -> None:
    """`import nnunetv2...` finds what is above, and our modules are imported anew."""

    def module(name: str, **values: object) -> types.ModuleType:
        made = types.ModuleType(f"nnunetv2.{name}" if name else "nnunetv2")
        vars(made).update(values, __path__=[])
        monkeypatch.setitem(sys.modules, made.__name__, made)
        return made

    class Results:
        def __fspath__(self):
            return os.environ["nnUNet_results"]  # noqa: SIM112

    packages = ("experiment_planning", "inference", "training", "training.dataloading")
    for name in ("", *packages, "utilities", "utilities.label_handling"):
        module(name)
    module("inference.predict_from_raw_data", nnUNetPredictor=Predictor)
    module(
        "utilities.label_handling.label_handling",
        determine_num_input_channels=lambda plans, configuration, dataset: len(
            dataset["channel_names"]
        ),
    )
    module("utilities.plans_handling")
    module("utilities.plans_handling.plans_handler", PlansManager=PlansManager)
    module("paths", nnUNet_results=Results())
    module("training.dataloading.nnunet_dataset", nnUNetDatasetBlosc2=object())
    trainer = module("training.nnUNetTrainer.nnUNetTrainer", nnUNetTrainer=Trainer)
    module("training.nnUNetTrainer", nnUNetTrainer=trainer)
    module(
        "experiment_planning.plan_and_preprocess_api",
        extract_fingerprints=extract_fingerprints,
        plan_experiments=plan_experiments,
    )
    for name in INSIDE:
        monkeypatch.delitem(sys.modules, f"renal.learn.nnunet.{name}", raising=False)
    made.clear()
    yield
    for name in INSIDE:
        sys.modules.pop(f"renal.learn.nnunet.{name}", None)
