"""Checks metrics in the text format of Prometheus with the parsers of its client library.

The library reads the text format leniently, and OpenMetrics strictly. The two differ, for the
metrics here, in the names of counters in HELP and TYPE, which have no `_total` in OpenMetrics,
and in the line at the end. So the strict parser reads the text after these two are changed.

Prints the name of each family, as it stands in the text.
"""

import re
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
from prometheus_client.parser import text_string_to_metric_families as lenient

# Time and size in anything but the base units, which are seconds and bytes.
OTHER_UNITS = re.compile(r"(^|_)(ms|us|ns|millis.*|micros.*|nanos.*|minutes|[kmg]i?b|kilobytes|megabytes)(_|$)")

text = sys.stdin.read()
assert text.endswith("\n"), "the last line has no end"
opened = re.sub(r"^(# (?:HELP|TYPE) \S+)_total ", r"\1 ", text, flags=re.MULTILINE) + "# EOF\n"
families = list(strict(opened))
read = [sample for family in lenient(text) for sample in family.samples]
assert len(read) == sum(len(family.samples) for family in families), "the parsers differ"

for family in families:
    name = family.name
    assert re.fullmatch(r"socketserver(_[a-z]+)+", name), name
    assert family.type in ("counter", "gauge", "histogram"), (name, family.type)
    assert family.documentation, f"{name} has no help"
    assert not OTHER_UNITS.search(name), f"{name} is not in a base unit"
    assert not name.endswith("_total"), f"{name} is a {family.type}, and named like a counter"
    for sample in family.samples:
        assert sample.value >= 0, sample
        for label, value in sample.labels.items():
            assert label in ("handler", "blame", "reason", "rule", "certificate", "le", "version"), sample
            assert "127.0.0." not in value, f"{sample} has the address of a client"
    if family.type == "counter":
        assert all(sample.name == f"{name}_total" for sample in family.samples), name
        assert all(float(sample.value).is_integer() for sample in family.samples), name
    if family.type == "histogram":
        assert name.endswith(("_seconds", "_bytes")), f"{name} says no unit"
        handlers = {sample.labels["handler"] for sample in family.samples}
        bounds = set()
        for handler in handlers:
            of = [sample for sample in family.samples if sample.labels["handler"] == handler]
            buckets = [(float(it.labels["le"]), it.value) for it in of if it.name.endswith("_bucket")]
            bounds.add(tuple(bound for bound, _ in buckets))
            (total,) = [sample.value for sample in of if sample.name.endswith("_sum")]
            # The sum lies between the bounds of the buckets that have something.
            below, least, most = (0.0, 0.0), 0.0, 0.0
            for bound, count in buckets:
                least += (count - below[1]) * below[0]
                most += (count - below[1]) * bound if count > below[1] else 0.0
                below = (bound, count)
            assert least <= total <= most, (name, handler, least, total, most)
        assert len(bounds) == 1, f"{name} has other buckets for another handler"

for family in families:
    print(family.name + ("_total" if family.type == "counter" else ""))
