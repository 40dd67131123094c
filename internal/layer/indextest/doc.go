// Package indextest serves real package indexes on loopback for tests: a Python
// index by PEP 503 and PEP 691 with wheels and sdists that setuptools builds, and an
// npm registry with tarballs that npm packs. Indexes can be told to lie.
package indextest
