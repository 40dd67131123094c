// Package cpython runs CPython's own regression tests inside runspaces and
// outside with the same interpreter, and compares them test by test. A
// difference is a fault unless docs/cpython.md explains it by name.
//
// suite.py runs the tests on both sides; the modules come from Debian's
// libpython3.11-testsuite.
package cpython
