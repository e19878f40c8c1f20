"""Events out of metrics: rules that watch a field of the records passing by, and say when its state changes."""
