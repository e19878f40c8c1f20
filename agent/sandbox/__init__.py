"""The stand-in clouds, the embedded broker and the simulated devices: for `demo` and the tests, never for `run`."""
