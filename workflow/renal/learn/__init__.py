"""How stages learn, and how they predict."""
