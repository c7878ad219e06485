"""How good a result is, how far detectors agree, and what a person should look at first."""
