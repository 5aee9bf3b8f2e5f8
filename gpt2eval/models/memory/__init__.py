"""Remember what loading found out about a model, so that a finished run needs no weights."""
