"""Say which folders become which packages; everything else about the project stands in pyproject.toml.

twistd finds plugins only in folders called `twisted/plugins`, so ap4r/twisted_plugins is installed under that name.
That folder must never hold an `__init__.py`: it would be installed over Twisted's own, and uninstalling ap4r would
then take Twisted's file away. tests/meta/test_packaging.py holds this.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["ap4r", "ap4r.*"]), "twisted.plugins"],
    package_dir={"twisted.plugins": "ap4r/twisted_plugins"},
)
