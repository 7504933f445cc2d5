"""Multiply the rate every so many epochs."""


def factor(history: list[dict[str, float]], *, factor: float, epochs: int) -> float:
    """`factor` to the power of how many times `epochs` epochs have passed."""
    return factor ** (len(history) // epochs)
