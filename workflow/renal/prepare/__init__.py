"""From the scanner's voxels to what a stage sees, a module for each step."""
