import subprocess
import sys


def test_data_and_metrics_load_neither_pillow_nor_scikit_learn():
    code = "import sys, gendiff.data, gendiff.metrics; sys.exit(bool({'PIL', 'sklearn', 'matplotlib', 'orbax', 'flax'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
