"""What would be in the way of a run, found before it starts.

`examine` asks everything, `namespace` looks at what is installed, `ensemble` at what a spec needs.
"""
