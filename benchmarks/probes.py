"""What of CLIP carries the trace, seen how, learned from whom: linear probes on publishers they have not seen.

    python benchmarks/probes.py SET... --reconstruct ../shared/models/taef2 -o probes.md

Each row is a logistic regression, fitted as the default is, on some summaries of CLIP's blocks (cN: the class
token after block N; mN: the mean of the patch tokens), some training views and some of the sets, and judged out
of fold, publishers apart, on the mean logit over the squares that a bundle looks at. `pooled`: AUROC of all
pictures; `within`: its mean inside the publishers of both classes, where the style of a set is no help; `TPR`:
AI found at 5 % false alarms. The split test is not touched. Embeddings are cached (an hour for every 30,000
views on one core), after which a row takes a minute; `--embed` stops there.
"""
