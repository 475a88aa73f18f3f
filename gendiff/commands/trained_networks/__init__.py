"""The networks that come with the package. Their cards stand beside the results of the studies that trained them."""

from pathlib import Path

FOLDER = Path(__file__).parent
