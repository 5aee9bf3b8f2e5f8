"""Windows, batches, chunks of work and the journal."""
