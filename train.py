"""The door: compose the settings, check them, run.

python train.py model.batchnorm=true
python train.py --help
"""

from pathlib import Path

from normlab.app.hydra_app import main

if __name__ == "__main__":
    main(Path(__file__).resolve().parent / "conf")
