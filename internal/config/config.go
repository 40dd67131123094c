package config

import (
	"os"
	"path/filepath"
	"time"
)

// Group says which commands a setting belongs to.
type Group string

// The groups of settings.
const (
	GroupCommon Group = "common" // every command
	GroupServer Group = "server" // serve
	GroupEngine Group = "engine" // serve, and commands that make sandboxes themselves
	GroupClient Group = "client" // commands that talk to a server
)

// Config is every setting. The tags are: koanf, the key; group, as above; help,
// one line that ends without a period; secret, never shown; env, only to be
// given as a variable (or in the file), because arguments are visible to every
// process of the machine.
type Config struct {
	LogLevel  string `koanf:"log_level" group:"common" help:"least severe log lines to print: debug, info, warn or error"`
	LogFormat string `koanf:"log_format" group:"common" help:"form of the log on standard error: text or json"`

	Data          string `koanf:"data" group:"server" help:"directory of the database and of everything the server keeps"`
	Listen        string `koanf:"listen" group:"server" help:"address and port to serve on; port 0 takes a free one; without TLS only a loopback address is allowed"`
	Durability    string `koanf:"durability" group:"server" help:"what an acknowledged write survives besides kill -9 and a full disk: machine (also a loss of power; waits for the disk at each commit) or process (faster; a crash of the machine may take back the last moments)"`
	TLSCert       string `koanf:"tls_cert" group:"server" help:"file with the TLS certificate chain (PEM)"`
	TLSKey        string `koanf:"tls_key" group:"server" help:"file with the TLS private key (PEM)"`
	AdminPassword string `koanf:"admin_password" group:"server" secret:"true" env:"only" help:"password of the user admin that the first start makes; a random one is printed once when it is not set"`

	Slots          int `koanf:"slots" group:"server" help:"most instances at the same time, warm and in use together; 0 is 64, or 32 for each core if that is more"`
	ParallelStarts int `koanf:"parallel_starts" group:"server" help:"most warm instances being started at the same time; 0 is the number of cores"`
	ParallelCold   int `koanf:"parallel_cold" group:"server" help:"most cold starts at the same time, others wait in line; 0 is four for each core"`

	OrganizationInstances int `koanf:"organization_instances" group:"server" help:"most instances that one organization holds at the same time, unless its own policy says otherwise; 0 is three quarters of the slots"`
	PoolMemoryMB          int `koanf:"pool_memory_mb" group:"server" help:"MiB of memory that idle warm instances may take together; 0 is a quarter of the machine's"`

	IsolationClasses []string `koanf:"isolation_classes" group:"server" help:"classes of isolation that runtimes may have (process, gvisor), separated by commas; empty is all"`
	NetworkAllow     []string `koanf:"network_allow" group:"server" help:"ranges of addresses that runtimes may list and reach, separated by commas; empty is any"`
	NetworkForbid    []string `koanf:"network_forbid" group:"server" help:"ranges of addresses that runtimes may not list or reach, whatever network_allow says, separated by commas"`

	RunspaceIdleTimeout   time.Duration `koanf:"runspace_idle_timeout" group:"server" help:"close a runspace after this long without an execution unless it says otherwise; 0 is never"`
	RunspaceActiveTimeout time.Duration `koanf:"runspace_active_timeout" group:"server" help:"end a runspace in which one script runs longer than this, unless it or its organization says otherwise; 0 is never"`
	RunspaceMax           int           `koanf:"runspace_max" group:"server" help:"most runspaces that one organization has open, unless its own limits say otherwise"`
	RunspaceMaxPerUser    int           `koanf:"runspace_max_per_user" group:"server" help:"most runspaces that one user has open in an organization, unless its limits say otherwise; 0 is as many as the organization"`
	RunspaceMemoryMB      int           `koanf:"runspace_memory_mb" group:"server" help:"MiB of memory of a runspace where neither it nor its organization says so; never more than its runtime's, which 0 is"`
	RunspaceLinger        time.Duration `koanf:"runspace_linger" group:"server" help:"how long an open runspace outlives its server, until another start takes it over; 0 is not at all"`
	RunspaceOnStop        string        `koanf:"runspace_on_stop" group:"server" help:"what SIGTERM does to open runspaces: keep (they and what runs in them go on, for runspace_linger, and the next start takes them over) or close; a second signal closes them"`
	ExecutionKeep         int           `koanf:"execution_keep" group:"server" help:"how many ended executions of each user are kept, with their output, unless the organization's limits say otherwise; 0 is all"`
	ExecutionKeepFor      time.Duration `koanf:"execution_keep_for" group:"server" help:"how long ended executions are kept, unless the organization's limits say otherwise; 0 is for good"`
	DrainTimeout          time.Duration `koanf:"drain_timeout" group:"server" help:"how long running executions may go on after SIGTERM before they are ended"`
	MetricsOpen           bool          `koanf:"metrics_open" group:"server" help:"serve /metrics without a token; allowed on a loopback address only"`
	TrustedOrigins        []string      `koanf:"trusted_origins" group:"server" help:"browser origins (https://host) that may send changing requests from other sites, separated by commas"`

	CompatStrategyEnabled        bool          `koanf:"compat_strategy_enabled" group:"server" help:"serve the API of MicroStrategy and Strategy"`
	CompatStrategyPrefix         string        `koanf:"compat_strategy_prefix" group:"server" help:"path under which that API is served"`
	CompatStrategyVersions       string        `koanf:"compat_strategy_versions" group:"server" help:"what a version of Python stands for there that the machine does not have: compatible (the nearest of the same major version that is not older) or exact (it is refused)"`
	CompatStrategySessionTimeout time.Duration `koanf:"compat_strategy_session_timeout" group:"server" help:"how long a session there lives without being used"`

	CompatSRSEnabled          bool          `koanf:"compat_srs_enabled" group:"server" help:"serve the API of VMware Script Runtime Service"`
	CompatSRSRuntime          string        `koanf:"compat_srs_runtime" group:"server" help:"name of the runtime that runspaces there are of; an organization may have one of its own with that name"`
	CompatSRSConnectionScript string        `koanf:"compat_srs_connection_script" group:"server" help:"stored script, by name or id, of each organization that runs there before a runspace is ready, where one is asked for; empty is the runtime's"`
	CompatSRSDisconnectScript string        `koanf:"compat_srs_disconnect_script" group:"server" help:"likewise, when such a runspace closes"`
	CompatSRSSessionTimeout   time.Duration `koanf:"compat_srs_session_timeout" group:"server" help:"how long a session there lives without being used"`

	PackagesPipIndexURL    string        `koanf:"packages_pip_index_url" group:"server" secret:"true" env:"only" help:"Python package index (PEP 503) that runtimes install from; empty is what pip of this machine uses"`
	PackagesNpmRegistryURL string        `koanf:"packages_npm_registry_url" group:"server" secret:"true" env:"only" help:"npm registry that runtimes install from; empty is what npm of this machine uses"`
	PackagesAptDir         string        `koanf:"packages_apt_dir" group:"server" help:"directory with the sources and keys of apt that runtimes install from"`
	PackagesAllow          []string      `koanf:"packages_allow" group:"server" help:"names and globs of packages that runtimes may install, and what these need, separated by commas; pip:numpy is one of pip alone; empty is all"`
	PackagesWheelDir       string        `koanf:"packages_wheel_dir" group:"server" help:"directory of wheels and source archives that can be installed without an index"`
	PackagesInternalHosts  []string      `koanf:"packages_internal_hosts" group:"server" help:"hosts (host or host:port) of the server's own network that an index may lead to, separated by commas"`
	PackagesBuildTimeout   time.Duration `koanf:"packages_build_timeout" group:"server" help:"most time that one step of a build of packages may take"`
	PackagesBuildCores     int           `koanf:"packages_build_cores" group:"server" help:"most cores that a build of packages may use"`
	PackagesBuildMemoryMB  int           `koanf:"packages_build_memory_mb" group:"server" help:"MiB of memory that a build of packages may take"`
	PackagesBuildDiskMB    int           `koanf:"packages_build_disk_mb" group:"server" help:"MiB of disk that a build of packages may take"`
	PackagesBuilds         int           `koanf:"packages_builds" group:"server" help:"most builds of packages at the same time, others wait; one organization has one less at most"`
	PackagesLockTTL        time.Duration `koanf:"packages_lock_ttl" group:"server" help:"how long an equal runtime gets the packages that were resolved before, without asking the index; 0 is not at all"`

	OutputLimitMB      int      `koanf:"output_limit_mb" group:"engine" help:"MiB of standard output and standard error kept of one execution"`
	NetworkRange       string   `koanf:"network_range" group:"engine" help:"IPv4 range between sandboxes and the machine, which nothing else that the machine talks to may lie in"`
	NetworkRange6      string   `koanf:"network_range6" group:"engine" help:"the same for IPv6"`
	NetworkDNS         []string `koanf:"network_dns" group:"engine" help:"name servers (address or address:port) that are asked for the names that runtimes list, separated by commas; empty is those of /etc/resolv.conf"`
	NetworkConnections int      `koanf:"network_connections" group:"engine" help:"most connections of one sandbox at the same time"`
	NetworkMbit        int      `koanf:"network_mbit" group:"engine" help:"most megabits per second that one sandbox sends, and receives"`

	Interpreters []string `koanf:"interpreters" group:"engine" help:"prefixes with further interpreters (such as /opt/python-3.12, with bin/python3.12), which sandboxes see read-only at the same place, separated by commas"`

	CgroupParent string `koanf:"cgroup_parent" group:"engine" help:"cgroup under which the engine makes its own, which must hold no process; empty is the root of the hierarchy"`

	URL   string `koanf:"url" group:"client" help:"address of the server to talk to"`
	Token string `koanf:"token" group:"client" secret:"true" help:"bearer token for that server"`
}

// Default returns the settings as they are when nobody sets anything.
func Default() Config {
	return Config{
		LogLevel:            "info",
		LogFormat:           "text",
		Data:                "/var/lib/remuda",
		Listen:              "127.0.0.1:8080",
		Durability:          "machine",
		RunspaceIdleTimeout: 30 * time.Minute,
		RunspaceMax:         256,
		RunspaceLinger:      10 * time.Minute,
		RunspaceOnStop:      OnStopKeep,
		DrainTimeout:        30 * time.Second,
		NetworkRange:        "198.18.0.0/15",
		NetworkRange6:       "fd72:656d:7564::/48",
		NetworkConnections:  1024,
		NetworkMbit:         1000,
		OutputLimitMB:       10,

		PackagesAptDir:        "/etc/apt",
		PackagesBuildTimeout:  15 * time.Minute,
		PackagesBuildCores:    2,
		PackagesBuildMemoryMB: 2048,
		PackagesBuildDiskMB:   4096,
		PackagesBuilds:        3,
		PackagesLockTTL:       24 * time.Hour,

		CompatStrategyEnabled:        true,
		CompatStrategyPrefix:         "/MicroStrategyLibrary",
		CompatStrategyVersions:       "compatible",
		CompatStrategySessionTimeout: 30 * time.Minute,

		CompatSRSEnabled:        true,
		CompatSRSRuntime:        "python",
		CompatSRSSessionTimeout: 30 * time.Minute,
	}
}

// SearchPaths lists where a file is looked for when none is named, in order; the
// first that exists is the only one that is read. The working directory is not
// among them: a checkout of somebody else's must not redirect a token.
func SearchPaths(lookup func(string) (string, bool)) []string {
	var paths []string
	if dir, ok := lookup("XDG_CONFIG_HOME"); ok && filepath.IsAbs(dir) {
		paths = append(paths, filepath.Join(dir, "remuda", FileName))
	} else if home, ok := lookup("HOME"); ok && filepath.IsAbs(home) {
		paths = append(paths, filepath.Join(home, ".config", "remuda", FileName))
	}
	return append(paths, filepath.Join("/etc/remuda", FileName))
}

// FileName is the usual name of the file.
const FileName = "remuda.yaml"

func firstExisting(paths []string) string {
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p
		}
	}
	return ""
}
