"""The configuration that costs are told of is that of the workflow that would run."""

from renal.costs.__main__ import read_configuration
from renal.sources import ROOT


def test_the_working_folder_s_own_configuration_lies_on_the_workflow_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_configuration([])["methods"] == ["resvnet"]
    (tmp_path / "config.yaml").write_text("methods: [tunet]\n")
    assert read_configuration([])["methods"] == ["tunet"]
    (tmp_path / "other.yaml").write_text("folds: {count: 3}\n")
    values = read_configuration([tmp_path / "other.yaml"])
    assert (values["methods"], values["folds"]["count"]) == (["resvnet"], 3)


def test_in_the_workflow_s_folder_config_yaml_is_read_once(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert read_configuration([])["methods"] == ["resvnet"]
