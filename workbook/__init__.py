"""What the lessons stand on: exercises, interactives, pictures, data. What one takes home is in `helpers`."""

from .feedback import Feedback, check, hint
from .places import is_here

__all__ = ["Feedback", "check", "hint", "is_here"]
