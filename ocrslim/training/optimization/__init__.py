"""One optimizer step, and what surrounds it: schedules, averages, precision, divergence."""
