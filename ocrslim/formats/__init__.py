"""Files of others' formats, read without trust: pickles and Paddle's programs."""
