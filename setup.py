from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="ocrslim",
    version="0.1.0",
    description="Channel pruning for PaddleOCR models: sensitivity analysis, pruning, fine-tuning, export",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.9,<3.13",
    packages=find_packages(include=["ocrslim", "ocrslim.*"]),
    install_requires=[
        "paddlepaddle>=3.1.1,<3.4",
        "paddleslim==2.6.0",
        "paddleocr==2.10.0",
        "pyyaml>=6",
        "pydantic>=2.5",
        "numpy>=1.24,<2",
        "scipy>=1.12",
        "shapely>=2",
        "matplotlib>=3.7",
        "pillow>=10.1",
        "psutil>=5.9",
        "tqdm>=4.60",
        "tabulate>=0.9",
        "rich>=13",
        "onnx>=1.15",
        # paddleslim uses these without declaring them
        "six",
        "requests",
        "decorator",
    ],
    # Global.use_visualdl; a requirement of nobody else: it brings a web server, pandas and more
    extras_require={"visualdl": ["visualdl>=2.5.3,<3"]},
    entry_points={"console_scripts": ["ocrslim = ocrslim.cli.main:main"]},
)
