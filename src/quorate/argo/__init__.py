"""Argo Workflows: an ensemble as a WorkflowTemplate, and what is asked of a cluster."""
