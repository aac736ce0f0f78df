"""A network rewritten by exact algebra and lowered to a Paddle program."""
