"""What a run will cost, told before anything is submitted: ``python -m renal costs``."""
