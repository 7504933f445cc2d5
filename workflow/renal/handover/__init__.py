"""What one phase leaves on disk for the next: the only place where phases meet."""
