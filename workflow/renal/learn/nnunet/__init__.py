"""nnU-Net as a row: planned, trained and applied by itself, in an environment of its own.

`planning`, `preprocessing`, `training` and `prediction` run there, started by `environment`. They
import nnU-Net, and of this package what needs no library that nnU-Net does not have.
"""
