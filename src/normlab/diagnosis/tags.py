"""Names of what is watched during training, in metrics.csv and in TensorBoard.

TensorBoard sorts groups by the alphabet and opens the first two: losses stay before these.
"""

SKILL = "train/skill"
UNITS = "units/"  # saturated or dead
GRADIENT_NORM = "weights/gradient_norm_"  # batchnorm, layer1, layer2, ...
