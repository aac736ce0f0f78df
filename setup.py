import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """The version that ocrslim/__init__.py has, read without importing it."""
    text = (HERE / "ocrslim/__init__.py").read_text(encoding="utf-8")
    return re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)[0]


setup(
    name="ocrslim",
    version=version(),
    description="Structured channel pruning for PaddleOCR models: sensitivity analysis, pruning, fine-tuning, export",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the ocrslim developers",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=(
        "paddleocr paddlepaddle paddleslim ocr channel-pruning structured-pruning model-compression "
        "sensitivity-analysis knowledge-distillation inference"
    ).split(),
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Natural Language :: English",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(9, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.9,<3.13",
    packages=find_packages(include=["ocrslim", "ocrslim.*"]),
    package_data={"ocrslim": ["py.typed", "report/html/assets/*", "report/html/vendor/*"]},
    install_requires=[
        # the one that does everything: later ones cannot write inference.pdmodel, nor 3.3 what becomes ONNX (README)
        "paddlepaddle==3.1.1",
        "paddleslim==2.6.0",
        "paddleocr==2.10.0",
        "pyyaml>=6",
        "pydantic>=2.5",
        "numpy>=1.24,<2",
        "scipy>=1.12",
        "shapely>=2",
        "rapidfuzz>=3",
        "matplotlib>=3.7",
        "pillow>=10.1",
        "psutil>=5.9",
        "tqdm>=4.60",
        "tabulate>=0.9",
        "rich>=13",
        # ONNX files are run by ONNX Runtime, and written by Paddle's converter; `packaging` it does not declare
        "onnx>=1.16.1",
        "onnxruntime>=1.17",
        "paddle2onnx==2.1.0",
        "packaging",
        "shtab>=1.7",
        "jinja2>=3.1",
        # paddle and paddleslim use these without declaring them; setuptools 80.9 warns of pkg_resources, 82 has none
        "setuptools<80.9",
        "six",
        "requests",
        "decorator",
    ],
    extras_require={
        # Global.use_visualdl; a requirement of nobody else: it brings a web server, pandas and more
        "visualdl": ["visualdl>=2.5.3,<3"],
        "notebook": ["pandas>=2", "ipykernel"],
        # the third runtime that exports are timed in, and pruned for (Export.runtime)
        "runtimes": ["openvino>=2025.3"],
        # Export.int8 for OpenVINO; ONNX Runtime brings its own tool
        "int8": ["onnxruntime>=1.19", "openvino>=2025.3", "nncf>=2.18"],
        # PaddleOCR's networks, losses and metrics, of the version of its wheel above, for those without a checkout
        "zoo": ["unstructured-paddleocr==2.10.0"],
    },
    entry_points={"console_scripts": ["ocrslim = ocrslim.cli:main"]},
)
