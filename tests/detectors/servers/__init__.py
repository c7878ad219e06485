"""Model servers for the tests: real ones in processes of their own, and one that misbehaves."""
