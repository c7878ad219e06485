"""The models of CVAT's "Automatic annotation" dialog: a server that answers as a Nuclio dashboard.

Read `served` (one ensemble as a function, its answers and what a labeller must be spared), then
`app` (the requests of CVAT), `upstream` (a real dashboard behind), `page` (what went wrong, for a
browser) and `serving` (loading and listening).

What CVAT sends and reads is that of `cvat/apps/lambda_manager/views.py` of 2.15 and 2.73:

    GET  /api/functions                a JSON object, name -> function: the models that are listed
    GET  /api/functions/NAME           one of them; asked before old annotations are deleted
    POST /api/function_invocations     {"image": base64, "threshold"?: number}, the name in the
                                       header x-nuclio-function-name; one frame at a time, nothing
                                       about user, task or frame -> a list of shapes

Any status of 4xx or 5xx there ends a labeller's run, and results are stored every 100 frames.
"""
