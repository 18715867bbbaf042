"""The names of the files in the folders of runs and of sweeps; imports nothing."""

CONFIG = "config.yaml"  # the settings
PROVENANCE = "provenance.json"
METRICS = "metrics.csv"
RESULT = "result.json"
TRACEBACK = "traceback.txt"  # which run and what exception in the first line, then the traceback
BEST = "checkpoints/best.ckpt"
LAST = "checkpoints/last.ckpt"
EVENTS = "events.out.tfevents.*"
SWEEP = "multirun.yaml"  # Hydra's record of a sweep
