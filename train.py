"""The door: compose the settings, check them, run.

python train.py model.batchnorm=true
python train.py --help
"""

import sys

import hydra
from omegaconf import DictConfig, OmegaConf

from normlab.continuing import spelled_out
from normlab.help import help_text
from normlab.messages import front_door

OmegaConf.register_new_resolver("settings_help", help_text, replace=True)


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float | None:
    # Imported here: torch and Lightning take seconds, a refused setting should not.
    from normlab.app import run

    return run(config)


if __name__ == "__main__":
    with front_door():
        sys.argv[1:] = spelled_out(sys.argv[1:])
        main()
