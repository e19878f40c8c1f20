"""Python imports this before anything else: faults under the program, where the environment asks for them."""

from __future__ import annotations

import os

if "FAULTS" in os.environ:
    import underneath

    underneath.install(os.environ["FAULTS"])
