"""What a run records of its choice for people: the plans it could have chosen, and where the costs are."""
