"""OpenCV with one thread: a worker has a picture of its own, so more threads would fight.

The setting holds for the whole process. Import this module only where a view needs it.
"""

import cv2

cv2.setNumThreads(0)

__all__ = ["cv2"]
