import os

from hypothesis import settings

# In CI the same examples every time, so that a change fails for what it changed; elsewhere new
# ones on every run, which is how faults are found.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
