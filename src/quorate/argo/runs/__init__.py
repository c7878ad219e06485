"""Starting runs, and seeing how they go.

In the order to read: `submit` renders, applies and creates, `upload` takes local files along;
`tree` shows a workflow's nodes; `reasons` says why a pod waits or failed; `watch` follows the tree
while it changes; `runs` lists runs, and what they left.
"""
