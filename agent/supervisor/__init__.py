"""
Everything that runs: the order it starts and stops in (`run`), and what a reload swaps meanwhile (`swap`).

Nothing in here knows a kind of collector or sink.
"""

from agent.supervisor.keeping import keep_running
from agent.supervisor.run import Beside, Life, run
from agent.supervisor.running import Running
from agent.supervisor.swap import NotSwapped, Swap, SwapUndone, is_enough, swap

__all__ = ["Beside", "Life", "NotSwapped", "Running", "Swap", "SwapUndone", "is_enough", "keep_running", "run", "swap"]
