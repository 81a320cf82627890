"""Preparation in pandas, in the manner of the notebook that Liang et al. (2018) published: the reference to be beaten.

    python bench/pandas_preparation.py ratings.csv FOLDER HELDOUT_USERS

Ratings above 3.5, users with at least five of them, users permuted and split, a fifth of each held-out user's items as
targets, external ids mapped one by one, five CSV files. The split must be ours.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 98765


def prepare(ratings: Path, folder: Path, heldout_users: int) -> None:
    """Write `train.csv`, `{validation,test}_{tr,te}.csv` and `unique_sid.txt`."""
    raw = pd.read_csv(ratings)
    raw = filter_users(raw[raw["rating"] > 3.5], minimum=5)
    users = raw.groupby("userId").size().index
    users = users[np.random.RandomState(SEED).permutation(users.size)]
    train = raw.loc[raw["userId"].isin(users[: -2 * heldout_users])]
    items = pd.unique(train["movieId"])
    uid = {user: index for index, user in enumerate(users)}
    sid = {item: index for index, item in enumerate(items)}

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unique_sid.txt").write_text("".join(f"{item}\n" for item in items))
    numerize(train, uid, sid).to_csv(folder / "train.csv", index=False)
    parts = {"validation": users[-2 * heldout_users : -heldout_users], "test": users[-heldout_users:]}
    for name, members in parts.items():
        plays = raw.loc[raw["userId"].isin(members)]
        shown, targets = split_rows(plays.loc[plays["movieId"].isin(items)])
        numerize(shown, uid, sid).to_csv(folder / f"{name}_tr.csv", index=False)
        numerize(targets, uid, sid).to_csv(folder / f"{name}_te.csv", index=False)


def filter_users(events: pd.DataFrame, *, minimum: int) -> pd.DataFrame:
    """The events of users who have that many."""
    activity = events[["userId"]].groupby("userId").size()
    return events[events["userId"].isin(activity.index[activity >= minimum])]


def split_rows(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw a fifth of each user's events as targets, of users who have five."""
    generator = np.random.RandomState(SEED)
    shown, targets = [], []
    for _, group in events.groupby("userId"):
        count = len(group)
        if count >= 5:
            chosen = np.zeros(count, bool)
            chosen[generator.choice(count, size=int(0.2 * count), replace=False)] = True
            shown.append(group[~chosen])
            targets.append(group[chosen])
        else:
            shown.append(group)
    return pd.concat(shown), pd.concat(targets)


def numerize(events: pd.DataFrame, uid: dict[int, int], sid: dict[int, int]) -> pd.DataFrame:
    """External ids to indices."""
    columns = {"uid": [uid[user] for user in events["userId"]], "sid": [sid[item] for item in events["movieId"]]}
    return pd.DataFrame(columns, columns=["uid", "sid"])


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
