"""CVAT's webhooks: what tells the companion of tasks, jobs and comments.

Read `deliveries` (what arrives), `receiving` (taken, kept, acted on), `events` (what is done),
`rights` (who may ask for it), and `registering`, which tells CVAT of the companion.
"""
