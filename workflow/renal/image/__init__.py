"""What all phases do with voxels: files, grids, boxes and components."""
