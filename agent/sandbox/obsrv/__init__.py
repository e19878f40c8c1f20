"""A stand-in for Obsrv's data-in, in this process (`Sandbox.open`) or in one of its own (`process.start`)."""

from agent.sandbox.obsrv.datasets import Dataset
from agent.sandbox.obsrv.server import Sandbox
from agent.sandbox.obsrv.tokens import Key, Rbac

__all__ = ["Dataset", "Key", "Rbac", "Sandbox"]
