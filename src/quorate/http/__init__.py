"""What asking any server over HTTP takes: time limits for whole answers, and trying again."""
