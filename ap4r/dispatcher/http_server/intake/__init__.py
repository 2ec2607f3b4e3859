"""The intake: messages put over HTTP."""
