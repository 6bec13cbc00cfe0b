"""Writes forest.json: what scikit-learn's decision trees make of a few rows. Run it here: python3 forest.py"""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.tree import DecisionTreeClassifier

ROWS, COLUMNS, CLASSES, SEED = 400, 6, 4, 58
CASES = [
    {"max_depth": 4},
    {"min_samples_leaf": 9},
    {"min_samples_split": 60, "min_samples_leaf": 5},
    {"max_depth": 6, "min_samples_leaf": 3, "min_samples_split": 30},
]
#: With these rows trees do not depend on the order in which features are looked at: no two splits are equally good.
STATES = range(8)


def data():
    random = np.random.default_rng(SEED)
    features = random.integers(0, 200, (ROWS, COLUMNS))
    score = features[:, 0] * features[:, 1] / 90 - features[:, 2] + 25 * np.sin(features[:, 3] / 25)
    labels = np.searchsorted(np.quantile(score, [0.2, 0.6, 0.85]), score)
    noisy = random.random(ROWS) < 0.15
    labels[noisy] = random.integers(0, CLASSES, noisy.sum())
    return features, labels


def fit(features, labels, settings):
    trees = [DecisionTreeClassifier(random_state=state, **settings).fit(features, labels) for state in STATES]
    told = [told_of(tree, features, labels) for tree in trees]
    assert all(np.allclose(one["importances"], told[0]["importances"], rtol=1e-12) for one in told), settings
    assert all(one["nodes"] == told[0]["nodes"] for one in told), settings
    return trees[0], told[0]


def told_of(model, features, labels):
    """Nodes from the root, each before its left branch and this before the right one: [feature, threshold] or shares."""
    tree = model.tree_
    nodes = []
    for place in range(tree.node_count):
        if tree.children_left[place] < 0:
            nodes.append(tree.value[place][0].tolist())
        else:
            nodes.append([int(tree.feature[place]), float(tree.threshold[place])])
    return {
        "nodes": nodes,
        "leaves": int(model.get_n_leaves()),
        "training_error": float(np.mean(model.predict(features) != labels)),
        "importances": model.feature_importances_.tolist(),
    }


def main():
    features, labels = data()
    cases = []
    for settings in CASES:
        model, told = fit(features, labels, settings)
        path = model.cost_complexity_pruning_path(features, labels)
        # Some way off the links' own strengths, where rounding would decide.
        pruned = []
        for low, high in zip(path.ccp_alphas, path.ccp_alphas[1:]):
            if high - low > 1e-9:
                alpha = float((low + high) / 2)
                pruned.append({"ccp_alpha": alpha, **fit(features, labels, settings | {"ccp_alpha": alpha})[1]})
        pruned.append({"ccp_alpha": 1.0, **fit(features, labels, settings | {"ccp_alpha": 1.0})[1]})
        for one in pruned[1:]:
            del one["nodes"]
        cases.append({"settings": settings, **told, "pruned": pruned})
        print(settings, told["leaves"], "leaves,", len(pruned), "steps of pruning")
    made_by = f"scikit-learn {sklearn.__version__}"
    document = {"made_by": made_by, "features": features.tolist(), "labels": labels.tolist(), "cases": cases}
    text = json.dumps(document, separators=(",", ":")).replace("],[", "],\n[").replace("},{", "},\n{")
    pathlib.Path(__file__).with_name("forest.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
