"""Learn from labelled pictures: what scores are worth, and how votes are best counted.

labelled     what every detector found on a labelled data set, detected once
split        which pictures are fitted on, and which reported on
maps         one rising map from score to probability
calibration  a map for each detector
bench        settings measured, fast, and remembered
space        the settings that may be tried
search       the best of them for several sets of pictures at once
tune         the search, and its gain on pictures that it has not seen
writing      the spec file with what was found
"""

from quorate.tuning.calibration import CalibrationResult, calibrate
from quorate.tuning.labelled import Labelled, labelled
from quorate.tuning.split import folds, refuse_overlap
from quorate.tuning.tune import Tuned, tune

__all__ = [
    "CalibrationResult",
    "Labelled",
    "Tuned",
    "calibrate",
    "folds",
    "labelled",
    "refuse_overlap",
    "tune",
]
