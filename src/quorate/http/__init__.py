"""HTTP: whole answers within a time limit, trying again; listening, and what requests bring."""
