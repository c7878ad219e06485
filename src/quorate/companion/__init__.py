"""The companion of a CVAT server: pages from which people who label start runs on their tasks.

Read `settings` (what an administrator says), `forms` (what can be started, and what it asks),
`templates` (which there are), `people` (who is here, and what CVAT lets them do), `store` (runs,
kept over a restart), `work` and `running` (the life of a run), `here` (runs on this machine) and
`there` (on a cluster); then the room `web` (what a browser asks and gets) and the room `hooks`
(CVAT's webhooks).

It keeps no accounts of its own: who is signed in, is so with CVAT, and every request about a task
is sent to CVAT with that person's own credentials.
"""
