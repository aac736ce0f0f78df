"""What a model is for; one package for each task."""
