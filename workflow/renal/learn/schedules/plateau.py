"""Lower the rate where the loss no longer falls."""


def factor(history: list[dict[str, float]], *, factor: float, patience: int) -> float:
    """`factor` to the power of how many times `patience` epochs have passed without a new best.

    What is watched is the validation loss, or the training loss where nothing is held out. The
    epochs are counted anew after a new best and after each reduction, as Keras does; torch's
    ReduceLROnPlateau waits one epoch longer.
    """
    best = float("inf")
    waited = reductions = 0
    for row in history:
        loss = row.get("validation_loss", row["loss"])
        waited += 1
        if loss < best:
            best, waited = loss, 0
        elif waited == patience:
            reductions, waited = reductions + 1, 0
    return factor**reductions
