"""What a run is going to do: its work, its batches, and how long they take."""
