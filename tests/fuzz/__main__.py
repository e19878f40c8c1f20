"""
Feed one target for as long as wanted, led by coverage: `python -m fuzz TARGET --seconds N`, from tests/.

Needs atheris, which `pip install atheris` gives where there is a wheel for this Python. What breaks a target is
written beside the corpus as `crash-...`; `--again FILE` feeds that file alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from pathlib import Path

NAMES = ("config", "payloads", "mqtt5", "mqtt311", "http", "sinks", "state", "status", "control")


def main() -> int:
    """The exit status: 0 where nothing was found."""
    reading = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    reading.add_argument("target", choices=NAMES)
    reading.add_argument("--seconds", type=int, default=60)
    reading.add_argument("--corpus", type=Path, help="a directory that keeps what was found worth trying")
    reading.add_argument("--again", type=Path, help="feed this file alone")
    given = reading.parse_args()
    if given.again is not None:
        from fuzz.targets import TARGETS

        TARGETS[given.target].feed(given.again.read_bytes())
        return 0
    try:
        import atheris
    except ImportError:
        sys.stderr.write("atheris is missing, so nothing was fuzzed: pip install atheris\n")
        return os.EX_UNAVAILABLE
    with atheris.instrument_imports(include=["agent"]):
        from fuzz.targets import TARGETS
    import structlog

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    corpus = given.corpus or Path(tempfile.mkdtemp(prefix=f"fuzz-{given.target}-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in TARGETS[given.target].seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    options = [f"-max_total_time={given.seconds}", "-timeout=20", "-rss_limit_mb=1024", f"-artifact_prefix={corpus}/"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[given.target].feed)
    atheris.Fuzz()  # ends the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
