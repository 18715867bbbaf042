"""The tables of `normlab example`: made from a seed, so that everyone's are the same.

A function for each file, which is named after it.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from normlab.data import synthetic

N_PATIENTS = 500


def rates() -> pl.DataFrame:
    """The rows of `data=heart_rate` as a file: a heart rate, and 1 where it is above 91."""
    table = synthetic.heart_rate()
    return pl.DataFrame({"heart_rate": table.rows[:, 0], "label": table.labels.astype(np.int64)})


def patients() -> pl.DataFrame:
    """Invented patients with what makes real tables hard, and whether each has a heart disease.

    A number for each patient that tells nothing; numbers whose scales lie five orders of magnitude
    apart; categories; a boolean; blank cells; a label in words. The label is drawn from a logistic
    law, so even a perfect model errs on some rows.
    """
    random = np.random.default_rng(0)
    n = N_PATIENTS
    age = random.normal(54, 9, n).clip(29, 77).round()
    male = random.random(n) < 0.6
    pain = random.choice(["none", "atypical", "typical"], n, p=[0.45, 0.35, 0.2])
    pressure = (115 + 0.3 * age + random.normal(0, 16, n)).round()
    cholesterol = random.normal(245, 50, n).clip(120, 480).round()
    platelets = 1000 * random.normal(250, 60, n).clip(80, 500).round()
    creatinine = np.exp(random.normal(-0.1 + 0.15 * male, 0.25)).round(2)
    max_rate = (209 - 1.1 * age + random.normal(0, 18, n)).round()
    exercise_pain = random.random(n) < 0.33
    st_depression = random.exponential(1.0, n).clip(0, 6).round(1)
    logits = (
        -0.7
        + 0.08 * (age - 54)
        + 2.0 * male
        - 3.0 * (pain != "none")
        + 0.01 * (cholesterol - 245)
        + 2.0 * (creatinine - 1)
        - 0.05 * (max_rate - 150)
        + 2.0 * exercise_pain
        + 1.5 * (st_depression - 1)
    )
    ill = random.random(n) < 1 / (1 + np.exp(-logits))
    frame = pl.DataFrame(
        {
            "patient": np.arange(1, n + 1),
            "age": age.astype(np.int64),
            "sex": np.where(male, "male", "female"),
            "chest_pain": pain,
            "pressure": pressure.astype(np.int64),
            "cholesterol": cholesterol.astype(np.int64),
            "platelets": platelets.astype(np.int64),
            "creatinine": creatinine,
            "max_heart_rate": max_rate.astype(np.int64),
            "exercise_pain": exercise_pain,
            "st_depression": st_depression,
            "disease": np.where(ill, "Yes", "No"),
        }
    )
    gaps = {"chest_pain": 0.02, "cholesterol": 0.06, "platelets": 0.04, "exercise_pain": 0.02}
    return frame.with_columns(
        pl.when(pl.Series(random.random(n) >= share)).then(pl.col(name)).alias(name)
        for name, share in gaps.items()
    )
