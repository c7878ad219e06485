"""Boxes into a task of CVAT, and out of it again.

Read `drawn` (what a job holds), `shapes` (boxes as CVAT's API takes them), `tracks` (those of a
video joined), `writing` (creating and deleting in a job), `journal` (what runs made), `publish`
(creating, replacing and undoing), and `issues` (frames that need a person).
"""
