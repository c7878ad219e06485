"""HTTP: whole answers within a time limit, trying again, and listening at an address."""
