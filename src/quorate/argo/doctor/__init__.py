"""What would keep a run from succeeding, found before it starts.

In the order to read: `finding` is one thing that was looked at; `examine` asks everything,
`ensemble` what a spec needs, and `pods` whether the namespace would admit them.
"""
