# remuda run examples/hello.py -- Ada
# What the last line evaluates to is the execution's value.
import platform
import sys

name = sys.argv[1] if len(sys.argv) > 1 else "world"
print(f"hello, {name}, from Python {platform.python_version()}")
len(name)
