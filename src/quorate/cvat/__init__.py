"""A CVAT server and ensembles: `functions` and `nuclio` are the models of its dialog."""
