"""Group and join tables, and append each step's to a CSV file, with pandas: groups.py [STEPS]."""

import sys
import time

import numpy as np
import pandas as pd

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
random = np.random.default_rng(20)
total = pd.DataFrame({"key": range(20), "value": 0})
for step in range(1, steps + 1):
    table = pd.DataFrame({"key": random.integers(0, 20, 5000), "value": random.integers(0, 1000, 5000)})
    sums = table.groupby("key", as_index=False)["value"].sum()
    total = total.merge(sums, on="key", suffixes=("", "_new"))
    total["value"] = (total["value"] * 31 + total.pop("value_new")) % 1000003
    total.assign(step=step).to_csv("groups.csv", mode="a", header=step == 1, index=False)
    print(step, int(total["value"].sum()), flush=True)
    time.sleep(0.08)
print("done", steps, total.sort_values("value")["key"].tolist())
