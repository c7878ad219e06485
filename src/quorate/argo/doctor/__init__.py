"""What would keep a run from succeeding, found before it starts.

In the order to read: `finding` is one thing that was looked at; `examine` asks everything, and
`ensemble` what a spec needs.
"""
