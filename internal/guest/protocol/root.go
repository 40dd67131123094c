package protocol

// Root is what of a sandbox's root file system is the same for many sandboxes.
type Root struct {
	Binds   []Bind   `json:"binds"`   // read-only, in order
	Links   []Link   `json:"links"`   // symbolic links
	Files   []Text   `json:"files"`   // small files: a synthetic /etc, the drivers
	Devices []string `json:"devices"` // names under /dev to bind from the host
}

func (r *Root) fields(c *coder) {
	list(c, &r.Binds, bindFields)
	list(c, &r.Links, linkFields)
	list(c, &r.Files, textFields)
	list(c, &r.Devices, stringField)
}

// Bind is a read-only, nosuid, nodev bind mount of a host path.
type Bind struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	Optional bool   `json:"optional,omitempty"` // skip when the source is absent
}

// Link is a symbolic link Target -> Source.
type Link struct {
	Target string `json:"target"`
	Path   string `json:"path"`
}

// Text is a small file of the root.
type Text struct {
	Path    string `json:"path"`
	Content string `json:"content"` // any bytes
	Mode    uint32 `json:"mode"`
}

func bindFields(c *coder, b *Bind) {
	c.string(&b.Source)
	c.string(&b.Target)
	c.bool(&b.Optional)
}

func linkFields(c *coder, l *Link) {
	c.string(&l.Target)
	c.string(&l.Path)
}

func textFields(c *coder, t *Text) {
	c.string(&t.Path)
	c.raw(&t.Content)
	c.uint32(&t.Mode)
}

// PreparedRoot is where a keeper that was started by a launcher finds the root
// that the launcher has prepared, read-only, in the mount namespace that it was
// cloned from. There, the rest is a proc file system at /proc, which the kernel
// wants to see before it gives another, and empty directories to mount on.
const PreparedRoot = "/prepared"
