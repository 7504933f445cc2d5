"""The same rate throughout."""


def factor(history: list[dict[str, float]]) -> float:
    """1, whatever the history."""
    return 1.0
