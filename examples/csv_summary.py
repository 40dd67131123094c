# remuda run --file examples/in.csv -p column='"minutes"' examples/csv_summary.py
# --file puts a file into the workspace, which is the working directory; -p binds a name.
import csv
import statistics

with open("in.csv", newline="") as f:
    numbers = [float(row[column]) for row in csv.DictReader(f)]  # noqa: F821 (column is a parameter)

print("rows", len(numbers), "mean", statistics.fmean(numbers), "median", statistics.median(numbers))
