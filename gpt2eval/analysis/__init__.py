"""Reading and checking tasks and protocols: inspect, explain, reproduce."""
