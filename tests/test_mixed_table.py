"""Tables with text, few integers and gaps, from the command line to predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import normlab
from normlab.data.file.columns import Selection
from normlab.data.meaning.apply import read_for
from normlab.data.read import read_table
from normlab.data.serve.split import split_rows

Train = Callable[..., Any]
FAST = ("trainer.max_epochs=3", "trainer.enable_progress_bar=false")
NUMBERS, TEXTS = ["age", "income", "ratio"], ["city", "job", "grade", "smokes"]


def mixed_table(n_rows: int, seed: int = 0, gaps: float = 0.08) -> pl.DataFrame:
    """A label from numbers of unlike scales, cities of unlike sizes, and their interplay."""
    random = np.random.default_rng(seed)
    age, income = random.normal(45, 12, n_rows), random.lognormal(10, 0.7, n_rows)
    ratio = random.random(n_rows) * 1e-3
    shares = 1 / np.arange(1, 41)
    city = random.choice(40, n_rows, p=shares / shares.sum())
    job = random.integers(0, 4, n_rows)
    grade = random.integers(1, 6, n_rows)
    smokes = random.random(n_rows) < 0.25
    effects = np.random.default_rng(1).normal(0, 1, 40)
    logit = (
        1.2 * (age - 45) / 12 * np.where(job == 2, 1, -0.5)
        + 0.8 * np.log(income / 22_000)
        + effects[city]
        + 0.4 * (grade - 3)
        + 1.5 * smokes
        - 1
    )
    frame = pl.DataFrame(
        {
            "age": age.round(1),
            "income": income.round(2),
            "ratio": ratio.round(7),
            "city": [f"city {code}" for code in city],
            "job": np.array(["clerk", "driver", "nurse", "cook"])[job],
            "grade": grade,
            "smokes": np.where(smokes, "yes", "no"),
        }
    )
    frame = frame.with_columns(
        pl.when(pl.Series(random.random(n_rows) >= gaps)).then(pl.col(name)).alias(name)
        for name in frame.columns
    )
    happened = random.random(n_rows) < 1 / (1 + np.exp(-logit))
    return frame.with_columns(label=pl.Series(np.where(happened, ">50K", "<=50K")))


def result_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("indicator", ["true", "false"])
@pytest.mark.parametrize("normalization", ["standardize", "batchnorm", "quantile"])
def test_a_run_and_its_predictions(
    train: Train, tmp_path: Path, normalization: str, indicator: str
) -> None:
    """The checkpoint alone predicts from raw files and tables, with the figures of the run."""
    frame = mixed_table(1_500)
    frame.write_csv(tmp_path / "rows.csv", null_value="NA")
    ended = train(
        "data=csv", "data.path=rows.csv", "data.target=label", "data.missing=impute",
        "data.integer_categories=10",
        f"data.indicator={indicator}", "data.max_categories=12",
        f"normalization={normalization}", "hydra.run.dir=run", *FAST,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    n_inputs = 3 + 14 + 5 + 6 + 1 + 7 * (indicator == "true")
    assert f"MLP {n_inputs}-16-1" in ended.out
    assert "target label: <=50K -> 0, >50K -> 1" in ended.out
    assert "inputs: 3 numeric, 1 boolean, 3 categorical" in ended.out

    model = normlab.load(tmp_path / "run")
    table = read_table(
        tmp_path / "rows.csv", "label", selection=Selection(missing="impute", integer_categories=10)
    )
    assert model.schema == table.schema
    figures, split = result_of(tmp_path / "run"), split_rows(table.labels, "random", 0.15, 0.15, 0)
    logits = model.logits(table.rows)
    for part in ("train", "val", "test"):
        index = getattr(split, part)
        area = roc_auc_score(table.labels[index], logits[index])
        assert area == pytest.approx(figures[part]["auroc"], abs=1e-6)

    shuffled = frame.select(reversed(frame.columns)).with_columns(more=pl.lit("x"))
    np.testing.assert_array_equal(model.decision_function(shuffled), logits)
    few = model.decision_function(frame[:9].to_dicts())
    np.testing.assert_allclose(few, logits[:9], rtol=1e-5)
    shuffled.drop("label").write_csv(tmp_path / "new.csv", separator=";", null_value="?")
    batches = list(read_for(model.schema, tmp_path / "new.csv", batch_rows=400))
    rows = np.concatenate([batch.rows for batch in batches])
    np.testing.assert_array_equal(model.logits(rows), logits)
    strange = frame[:5].with_columns(city=pl.lit("Atlantis"))
    assert np.isfinite(model.predict_proba(strange)).all()
    assert set(model.predict(strange)) <= {"<=50K", ">50K"}
    with pytest.raises(ValueError, match="lack the columns 'grade'"):
        model.predict(frame.drop("grade"))


@pytest.mark.parametrize("policy", ["drop", "impute"])
def test_heart_and_pima_train(
    train: Train, real_table: Callable[[str], Path], tmp_path: Path, policy: str
) -> None:
    ended = train(
        "data=csv", f"data.path={real_table('heart.csv')}", "data.target=AHD", "data.drop=[0]",
        f"data.missing={policy}", "trainer.max_epochs=20", *FAST[1:],
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert "303 rows" in ended.out or "297 rows" in ended.out
    assert result_of(ended.folder)["test"]["auroc"] > 0.8
    ended = train(
        "data=csv", f"data.path={real_table('pima.csv')}", "data.target=-1",
        "hydra.run.dir=pima", *FAST,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert result_of(tmp_path / "pima")["test"]["auroc"] > 0.7


def test_a_sweep_stacks_its_seeds(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Runs whose training rows hold other categories train as one, as each does alone."""
    mixed_table(400, gaps=0.2).write_csv(tmp_path / "rows.csv", null_value="NA")
    arguments = [
        "data=csv", "data.path=rows.csv", "data.target=label", "data.missing=impute",
        "data.integer_categories=10",
        "data.indicator=true", "trainer.precision=64-true", *FAST,
    ]  # fmt: skip
    ended = train("-m", *arguments, "seed=0,1,2", "hydra.sweep.dir=sweep")
    assert ended.status == 0, ended.err
    assert "3 runs as one" in ended.out + ended.err
    alone = train(*arguments, "seed=2", "hydra.run.dir=alone")
    assert alone.status == 0
    one, other = result_of(tmp_path / "sweep/2"), result_of(tmp_path / "alone")
    for part in ("train", "val", "test"):
        assert one[part] == pytest.approx(other[part], rel=1e-6)
    frame = mixed_table(50, seed=3)
    np.testing.assert_allclose(
        normlab.load(tmp_path / "sweep/2").decision_function(frame),
        normlab.load(tmp_path / "alone").decision_function(frame),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,y\n", "no rows"),
        (b"a,y\n1,0\n", "one value"),
        (b"a,y\n1,0\n2\n", "line 3: too few cells"),
        (b"a,y\n1,0\n2,1,3\n", "line 3: too many cells"),
        (b"a,y\n1,0\ninf,1\n", "line 3, column 'a': 'inf' is infinite"),
        (b"a,a,y\n1,2,0\n", "line 1: several columns are named 'a'"),
        (b"a,y\n1,0\n2,\n", "line 3, column 'y'"),
        ("größe,y\n1,0\n".encode("latin-1"), "data.encoding=latin-1"),
        (b"a,y\n1,0\n2\0,1\n", "line 3: holds a NUL byte"),
        (b"\x1f\x8b\x08\x00cut", "gzip archive that is cut off"),
        (b"a,y\n1,0\n2,1\n3,1\n", "The validation part"),
        (b"a,y\n" + b"1e30,0\n-1e30,1\n" * 20, "overflows float32"),
    ],
)
def test_bad_input_ends_in_one_message_and_no_folder(
    train: Train, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    ended = train("data=csv", "data.path=bad.csv", "data.target=y", "normalization=none", *FAST)
    assert ended.status == 1
    last = ended.err.splitlines()[-1]
    assert last.startswith("normlab: ")
    assert message in last
    assert "Traceback" not in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # ten epochs, for both alike
def test_as_good_as_scikit_learns_pipeline(train: Train, tmp_path: Path) -> None:
    """AUROC on the test rows of five splits: imputed, one-hot, standardized, an MLP of 16 units."""
    frame = mixed_table(20_000)
    frame.write_csv(tmp_path / "rows.csv", null_value="?")
    ended = train(
        "-m", "data=csv", "data.path=rows.csv", "data.target=label", "data.missing=impute",
        "data.integer_categories=10",
        "data.batch_size=256", "data.indicator=true", "seed=0,1,2,3,4", "hydra.sweep.dir=sweep",
        "trainer.max_epochs=10", "trainer.enable_progress_bar=false",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    labels = (frame["label"] == ">50K").to_numpy().astype(np.float32)
    table = frame.drop("label").with_columns(pl.col(TEXTS).cast(pl.String))
    numbers = make_pipeline(SimpleImputer(add_indicator=True, strategy="median"), StandardScaler())
    texts = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    ours, theirs = [], []
    for seed in range(5):
        split = split_rows(labels, "random", 0.15, 0.15, seed)
        pipeline = make_pipeline(
            make_column_transformer((numbers, [0, 1, 2]), (texts, [3, 4, 5, 6])),
            MLPClassifier([16], max_iter=10, batch_size=256,  # pyright: ignore[reportArgumentType]
                          learning_rate_init=0.01,
                          early_stopping=True, n_iter_no_change=10, random_state=seed),
        )  # fmt: skip
        values = _objects(table)
        pipeline.fit(values[split.train], labels[split.train])
        scores = pipeline.predict_proba(values[split.test])[:, 1]
        theirs.append(roc_auc_score(labels[split.test], scores))
        ours.append(result_of(tmp_path / f"sweep/{seed}")["test"]["auroc"])
    assert np.mean(ours) > np.mean(theirs) - 0.01, (ours, theirs)
    assert np.mean(ours) > 0.75


def _objects(table: pl.DataFrame) -> np.ndarray:
    """As scikit-learn takes a mixed table: objects, nan where missing."""
    values = np.array(table.rows(), dtype=object)
    values[values == None] = np.nan  # noqa: E711
    return values
