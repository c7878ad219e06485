"""CVAT for images 1.1: XML with or without pictures, of a task, a project or a job.

Format: https://docs.cvat.ai/docs/manual/advanced/xml_format/, and what CVAT 2.15 was seen to
take. `reading` and `writing` hold the two directions, `meta` what both know of `<meta>`.
"""

from quorate.formats.cvat.reading import read, recognise
from quorate.formats.cvat.writing import write, write_parts

__all__ = ["read", "recognise", "write", "write_parts"]
