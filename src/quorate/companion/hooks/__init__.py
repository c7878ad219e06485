"""CVAT's webhooks: what tells the companion of tasks, jobs and comments.

Read `deliveries` (what arrives), `receiving` (taken, kept, acted on), `events` (what is done),
`commands` and `rights` (comments), and `registering`, which tells CVAT of the companion.
"""
