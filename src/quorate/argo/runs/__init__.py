"""Starting runs, and seeing how they go.

In the order to read: `submit` renders, applies and creates, `upload` takes local files along;
`tree` shows a workflow's nodes; `reasons` says why a pod waits or failed; `family` is a run with
its children, stopped and retried as one; `watch` follows the tree while it changes; `logs` are what
the steps wrote; `runs` lists runs, and what they left; `finish` is the exit handler's work.
"""
