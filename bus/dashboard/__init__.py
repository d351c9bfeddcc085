"""The desk: pages in a browser that show everything and steer everything, made here, without a build step."""

from .desk import Desk, Running
from .history import SAMPLE_SECONDS, History
from .live import Live
from .urls import dashboard_routes

__all__ = ["SAMPLE_SECONDS", "Desk", "History", "Live", "Running", "dashboard_routes"]
