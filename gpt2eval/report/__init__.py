"""Results on disk, tables and plots."""
