"""Agreement of labels as tables."""

import pandas as pd

from renal.report.label_versions import agreement, write_agreement

ROWS = [
    {"case": "case_1", "kidney_dice": 0.9, "tumour_dice": 0.8, "composite": 0.85}
    | {"tumour_hd95": 4.0, "tumour_detection": "found"},
    {"case": "case_2", "kidney_dice": 0.7, "tumour_dice": 0.0, "composite": 0.35}
    | {"tumour_hd95": float("nan"), "tumour_detection": "missed"},
]


def test_metrics_over_all_cases_and_the_dice_of_each(tmp_path):
    text = agreement(ROWS)
    lines = text.splitlines()
    assert "| Kidney Dice | 0.800 | 0.800 | 0.700 | 0.900 | 2 |" in lines
    assert "| Tumour HD95, mm | 4.000 | 4.000 | 4.000 | 4.000 | 1 |" in lines
    assert "| Tumours found | 0.500 | 0.500 | 0.000 | 1.000 | 2 |" in lines
    least, most = "| case_2 | 0.700 | 0.000 | 0.350 |", "| case_1 | 0.900 | 0.800 | 0.850 |"
    assert lines[-2:] == [least, most]
    write_agreement(ROWS, text, tmp_path)
    assert (tmp_path / "labels.md").read_text() == text
    stored = pd.read_csv(tmp_path / "labels.csv")
    assert stored["case"].tolist() == ["case_1", "case_2"]
    assert stored["tumour_dice"].tolist() == [0.8, 0.0]
