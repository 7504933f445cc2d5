"""What one phase leaves on disk for the next, sealed: the only place where phases meet."""
