"""What would keep a run from succeeding, found before it starts.

In the order to read: `finding` is one thing that was looked at; `examine` asks everything, with
`namespace` (what the chart installs) and `ensemble` (what a spec needs).
"""
