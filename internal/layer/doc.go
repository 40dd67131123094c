// Package layer makes the packages of a runtime into a directory that its
// instances have read-only.
//
// It happens in two steps. Resolve finds out what exactly is to be installed and
// says it in a lock: every name, version and hash. Install makes the layer of a
// lock, from the lock alone. Pip, npm and apt do the work themselves; nothing here
// resolves a dependency. They run in an ordinary sandbox of the engine, as its
// unprivileged user, within limits and a time-out, without any network: the only
// thing that they can connect to is a gateway (package index) that the server
// serves on the sandbox's own loopback and that leads to the site's index of that
// one manager. While a locked layer is installed the gateway shows an index that
// holds what the lock names and nothing else.
//
// A layer is named by the hash of its lock and belongs to one organization: were it
// shared, the time of a build would tell what others have. It is put together in a
// temporary place and renamed, so it is there as a whole or not at all.
//
// What comes out of a sandbox is foreign bytes: a report, a package-lock, a tar.
// Each is read with limits, and each reader is fuzzed.
//
// Start at Maker. It does not know runtimes or generations: who needs a layer, and
// which are not needed any more, is told to Collect.
package layer
