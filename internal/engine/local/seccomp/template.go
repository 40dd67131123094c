package seccomp

import "golang.org/x/sys/unix"

// forMounts are the calls with which a template's child finishes its own root.
// The base policy refuses all of them.
var forMounts = []string{"mount", "umount2", "move_mount", "mount_setattr"}

// seccompFilter is the one operation of the system call seccomp that a child needs,
// without flags: one of them would have the kernel ask the template what becomes of
// the calls of its children, and let it give them descriptors.
const seccompFilter = unix.SECCOMP_SET_MODE_FILTER

// templateRules are the rules of a template. What it may do more than an
// instance is of no use in its own namespaces, where it has no capability: only
// in those that the clone makes.
func templateRules(cloneFlags, ownFlags uint32) map[string]rule {
	r := rules()
	for _, name := range forMounts {
		r[name] = rule{otherwise: Allow}
	}
	for name, more := range map[string]clause{
		"clone":   {when: []condition{{arg: 0, value: cloneFlags}}, do: Allow},
		"unshare": {when: []condition{{arg: 0, value: ownFlags}}, do: Allow},
		"prctl":   {when: []condition{{arg: 0, value: unix.PR_CAPBSET_DROP}}, do: Allow},
	} {
		old := r[name]
		r[name] = rule{clauses: append([]clause{more}, old.clauses...), otherwise: old.otherwise}
	}
	r["seccomp"] = rule{clauses: []clause{{when: []condition{{arg: 0, value: seccompFilter}, {arg: 1, value: 0}}, do: Allow}}, otherwise: notThere}
	return r
}

// childRules take back all of that.
func childRules() map[string]rule {
	base := rules()
	r := map[string]rule{
		"clone":   base["clone"],
		"unshare": base["unshare"],
		"prctl":   {clauses: is(0, invalid, unix.PR_CAPBSET_DROP), otherwise: Allow},
		"seccomp": {otherwise: notThere},
	}
	for _, name := range forMounts {
		r[name] = rule{otherwise: refused}
	}
	return r
}
