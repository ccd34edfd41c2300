"""The study's plugins/ as a package: plugins/methods/huber.py is imported as `isoclock.plugins.methods.huber`.

The name is the same in every process, so that loader processes can import what they are sent.
"""

from pathlib import Path

__path__ = [str(Path.cwd() / "plugins")]
