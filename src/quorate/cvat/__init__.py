"""A CVAT server: its tasks' pictures go to an ensemble, and what the quorum decided goes back.

Annotating a task from here: read `client` (how the server is asked), `task` (what a task, job or
project holds), `pictures` (its frames as a data set), `shapes` (boxes as CVAT's API takes them),
`publishing` (creating, replacing and undoing them) and `run`, which does it all. Where CVAT asks
us, frame by frame: `functions` and `nuclio` are the models of its dialog.

What is said of servers here was seen on CVAT 2.15 to 2.73, or read in their public source.
"""

from quorate.cvat.client import Client
from quorate.cvat.publishing import Published
from quorate.cvat.run import Annotated, run, undo

__all__ = ["Annotated", "Client", "Published", "run", "undo"]
