"""Running a traced network, or a part of it, on a real inference runtime."""
