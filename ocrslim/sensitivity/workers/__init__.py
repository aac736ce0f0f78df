"""Workers, which measure points: the pool, the messages to and from it, and the process behind them."""
