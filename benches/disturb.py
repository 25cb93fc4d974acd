"""Helpers of the series that disturb runs: kill.py, lost.py, torture.py."""

import argparse
import contextlib
import hashlib
import os
import subprocess

ENVIRONMENT = dict(os.environ, NO_COLOR="1", HF_HUB_OFFLINE="1")


def parser(description):
    """An argument parser with the binary's path."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medley", default="target/release/medley", help="the binary")
    return parser


def digest(content):
    return hashlib.sha256(content).hexdigest()


def has_unfinished(folder):
    """Whether a folder has files or folders under temporary names, which a process is writing or was killed while writing."""
    return folder.is_dir() and any(entry.name.startswith(".partial-") for entry in folder.iterdir())


@contextlib.contextmanager
def small_disk(folder, size):
    """Mounts a tmpfs of `size` bytes on `folder`; yields whether this process may."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
