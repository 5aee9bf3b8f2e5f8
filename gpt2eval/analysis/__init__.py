"""Examine tasks, signatures and protocols: inspect_task, reproduce, explain."""
