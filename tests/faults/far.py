"""
The rows of the far side.

far_errors: the clouds' error tables · far_ways: what far sides do to requests · far_network: certificates, names,
pauses · far_keys: keys, and one cloud of three in trouble · far_sides: the clouds and the scene · far_line: the way
"""

from __future__ import annotations

from faults import far_errors, far_keys, far_network, far_ways

__all__ = ["far_errors", "far_keys", "far_network", "far_ways"]
