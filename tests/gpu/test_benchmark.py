"""What benchmarks/gpu.py does in its ten minutes."""

import itertools
import sys

import gpu


def test_stages_for_which_no_time_is_left_are_named(monkeypatch, capsys):
    """What is looked at comes first, and stages that are asked for by name are all measured."""
    minutes = itertools.count()
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: 60.0 * next(minutes))
    monkeypatch.setattr(gpu, "checks", lambda: [("stop and go on", True, "stopped")])
    monkeypatch.setattr(gpu, "measured", lambda name, *_: [name, *["1"] * 7])
    known = gpu.stages(small=True)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small"])
    assert gpu.main() == 0
    told = capsys.readouterr().out
    rows = [name for name in known if f"| {name} |" in told]
    assert len(rows) == len({known[name].training.network.name for name in rows}) == 8
    late = told.partition("- no time was left for: ")[2].strip().split(", ")
    assert sorted([*rows, *late]) == sorted(known)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small", "--stages", *known])
    assert gpu.main() == 0
    assert "no time was left" not in capsys.readouterr().out
