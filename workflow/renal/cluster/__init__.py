"""The machine and the cluster that a step runs on."""
