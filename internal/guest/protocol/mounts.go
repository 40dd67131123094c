package protocol

// Where packages are mounted. The prepared root has both as empty directories.
const (
	// LayerDir holds the layers: "/layer/0" is the first.
	LayerDir = "/layer"
	// NodeModules is found by require and import of every script below it, which
	// is everywhere.
	NodeModules = "/node_modules"
)

// MaxMounts bounds Setup.Mounts: so many descriptors a keeper takes beside the
// disk's.
const MaxMounts = 32
