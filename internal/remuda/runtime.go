package remuda

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Language is what a runtime's interpreter speaks.
type Language string

// The languages with a driver.
const (
	LanguagePython Language = "python"
	LanguageNode   Language = "node"
	LanguageBash   Language = "bash"
)

// Languages lists every language that has a driver.
func Languages() []Language { return []Language{LanguagePython, LanguageNode, LanguageBash} }

// EnvironmentHost is the built-in environment: the machine's own /usr, read-only.
const EnvironmentHost = "host"

// Isolation is the class of fence around an instance.
type Isolation string

// The classes of isolation.
const (
	// IsolationProcess is namespaces, cgroups and a system call filter of the
	// machine's own kernel.
	IsolationProcess Isolation = "process"
	// IsolationGVisor is a kernel of its own in user space (runsc).
	IsolationGVisor Isolation = "gvisor"
)

// Isolations lists every class, the default first.
func Isolations() []Isolation { return []Isolation{IsolationProcess, IsolationGVisor} }

// Egress is what may be reached from an instance. The zero value is nothing.
type Egress struct {
	CIDRs []netip.Prefix // IPv4 and IPv6
	Names []string       // host names, lower case, without a final dot; our extension
	// Within are rules besides the site's, all of which cut from both lists what
	// they do not admit. They are the organization's, set where an instance is
	// made, and no part of a definition.
	Within []EgressRules
}

// EgressRules say what may be listed and reached at all. The zero value lets
// anything be.
type EgressRules struct {
	Allow  []netip.Prefix // empty is anything
	Forbid []netip.Prefix // wins over Allow
}

// None reports whether the rules admit everything.
func (r EgressRules) None() bool { return len(r.Allow) == 0 && len(r.Forbid) == 0 }

// None reports whether nothing may be reached.
func (e Egress) None() bool { return len(e.CIDRs) == 0 && len(e.Names) == 0 }

// Clone returns a copy that shares nothing with e.
func (e Egress) Clone() Egress {
	return Egress{CIDRs: slices.Clone(e.CIDRs), Names: slices.Clone(e.Names), Within: slices.Clone(e.Within)}
}

// Resources are the limits of one instance of a runtime. All are always on.
type Resources struct {
	CPU      float64 // cores; 0.2 is a fifth of one
	MemoryMB int     // MiB; over it the script is killed (memory)
	DiskMB   int     // MiB of workspace, /tmp and /dev/shm together; over it ENOSPC
	Pids     int     // processes and threads
}

// PoolBounds say how many warm instances a generation keeps.
type PoolBounds struct {
	MinCached int // kept warm even when nobody asks
	MaxCached int // never more than this many idle ones
}

// VersionPolicy says which interpreters a version stands for.
type VersionPolicy string

// The version policies.
const (
	// VersionExact is that version, or the newest that continues it after a dot:
	// 3.11 is 3.11.2. What the machine does not have is refused.
	VersionExact VersionPolicy = "exact"
	// VersionCompatible is the nearest interpreter of the same major version at or
	// above the minor version that was asked for.
	VersionCompatible VersionPolicy = "compatible"
)

// Definition is what a user says about a runtime. Any change makes a new
// generation.
type Definition struct {
	Name        string // unique in its organization
	Description string
	Language    Language
	// Version is the interpreter version that was asked for; "" is the machine's
	// default. What it was found to mean is Build.Version.
	Version       string
	VersionPolicy VersionPolicy // "" is VersionExact
	Environment   string        // EnvironmentHost for now
	Resources     Resources
	ExecTimeout   time.Duration // wall-clock limit of one execution; whole seconds on the wire
	Pool          PoolBounds
	Env           map[string]string // environment of every instance
	// Preload lists modules that the generation's template imports before it is
	// forked from. Only languages that can fork have it.
	Preload   []string
	Isolation Isolation // "" is IsolationProcess
	Egress    Egress    // nothing by default
	Packages  []Package // installed in a layer of the generation's own
	// ConnectionScript and DisconnectScript are stored scripts, by id or name, that
	// run when a runspace that asks for it is made and closed.
	ConnectionScript string
	DisconnectScript string
	Others           string // kept and given back, without a meaning
}

// Clone returns a copy that shares nothing with d.
func (d Definition) Clone() Definition {
	d.Env = maps.Clone(d.Env)
	d.Preload = slices.Clone(d.Preload)
	d.Egress = d.Egress.Clone()
	d.Packages = slices.Clone(d.Packages)
	return d
}

// Runtime is a named definition and its current generation.
type Runtime struct {
	ID           RuntimeID
	Organization OrganizationID // GlobalOrganization for built-ins
	Definition
	Generation int // number of the current generation, from 1
	// Serving is the number of the generation that instances are made of: the
	// newest that became ready. 0 while none has.
	Serving int
	// Build is that of the current generation; its status is the runtime's. It is
	// not stored with the runtime.
	Build Build
	// Instances are how many there were when the runtime was looked at.
	Instances InstanceCounts
	CreatedAt time.Time
	UpdatedAt time.Time
}

// InstanceCounts are how many instances there are of a runtime, of all its
// generations together.
type InstanceCounts struct {
	Ready    int // warm, and waiting
	Starting int
	Active   int // held
}

// Key names the current generation.
func (r Runtime) Key() GenerationKey { return GenerationKey{Runtime: r.ID, Number: r.Generation} }

// GenerationKey names one immutable build of a runtime.
type GenerationKey struct {
	Runtime RuntimeID
	Number  int
}

// RuntimePatch changes the fields that are not nil.
type RuntimePatch struct {
	Name        *string
	Description *string
	Language    *Language
	Version     *string
	// VersionPolicy changes with the version that it is for, if it is nil, to
	// VersionExact.
	VersionPolicy *VersionPolicy
	Environment   *string
	CPU           *float64
	MemoryMB      *int
	DiskMB        *int
	Pids          *int
	ExecTimeout   *time.Duration
	MinCached     *int
	MaxCached     *int
	Env           map[string]string // replaces the whole map when not nil
	Preload       *[]string
	Isolation     *Isolation
	Egress        *Egress
	Packages      *[]Package
	Others        *string

	ConnectionScript *string
	DisconnectScript *string
}

// Deletion says what a deletion does with what runs on the runtime. The zero value
// refuses while runspaces are open and lets one-shot executions go on to their end.
type Deletion struct {
	// RefuseIfBusy refuses while anything runs on it.
	RefuseIfBusy bool
	// Drain is how long what runs may go on; after that it is ended. Nothing new
	// begins meanwhile. 0 does not drain.
	Drain time.Duration
}
