"""Every interactive a lesson shows. `interactive.py` says how one is made."""

from .channel_surgery import ChannelSurgery
from .checkpoint_clinic import CheckpointClinic, make_patients
from .cut_and_graft import CutAndGraft
from .freeze_tree import FreezeTree
from .key_matcher import KeyMatcher, make_student_and_teacher
from .lesson_map import LessonMap
from .network_explorer import EXCHANGED, STORED, WANTED, NetworkExplorer
from .resume_bench import ResumeBench
from .two_files import TwoFiles
from .upsampling_bench import UpsamplingBench

__all__ = [
    "EXCHANGED",
    "STORED",
    "WANTED",
    "ChannelSurgery",
    "CheckpointClinic",
    "CutAndGraft",
    "FreezeTree",
    "KeyMatcher",
    "LessonMap",
    "NetworkExplorer",
    "ResumeBench",
    "TwoFiles",
    "UpsamplingBench",
    "make_patients",
    "make_student_and_teacher",
]
