package strategy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
)

// What clients know by heart.
const (
	vendorVersion  = "11.5.0600.00100"
	defaultRuntime = "0F35652CA7D041978BF0CBCB67531203"
	defaultName    = "(Default) Strategy"

	typeRuntime, subtypeRuntime = 80, 20480
	typeScript                  = 76
	acgAll, acgRead             = 255, 197
	projectActive               = 0
)

// administrator is the owner of what is built in.
var administrator = ownerWire{Name: "Administrator", ID: "54F3D26011D2896560009A8E67019608"}

// knownPrivileges are the vendor's privileges that mean something here.
var knownPrivileges = []struct {
	id, name, description string
	action                authz.Action
}{
	{"2", "Create configuration objects", "The privilege required to create and change runtimes.", authz.RuntimeWrite},
	{"301", "Manage runtime", "The privilege required to create, change and delete runtimes.", authz.RuntimeWrite},
	{"302", "Create and edit script", "The privilege required to store scripts.", authz.ScriptWrite},
	{"303", "Use script Python", "The privilege required to evaluate scripts.", authz.ExecutionRun},
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func upper(s string) string { return strings.ToUpper(strings.TrimSpace(s)) }

func (j *changeJournal) text() string {
	if j == nil {
		return ""
	}
	return value(j.UserComments)
}

// vendorTime has whole seconds.
const vendorTime = "2006-01-02T15:04:05.000+0000"

func created(t time.Time) string { return t.UTC().Truncate(time.Second).Format(vendorTime) }

// modified rounds up, so that what was changed in the second in which it was made
// is seen to have changed.
func modified(made, changed time.Time) string {
	up := changed.UTC().Truncate(time.Second)
	if changed.After(made) && changed.After(up) {
		up = up.Add(time.Second)
	}
	return up.Format(vendorTime)
}

// versionID is a version in the form of an id: another one after every change.
func versionID(id string, number int, changed time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", id, number, changed.UnixMicro()))
	return strings.ToUpper(hex.EncodeToString(sum[:16]))
}

func granted(p remuda.Principal, action authz.Action, owner remuda.OrganizationID) int {
	if authz.Check(p, action, owner) == nil {
		return acgAll
	}
	return acgRead
}

func initials(name string) string {
	if name == "" {
		return ""
	}
	c, _ := utf8.DecodeRuneInString(name)
	return strings.ToUpper(string(c))
}

// pick keeps the named keys of an object, of the elements of a list, or of the
// elements of an object's lists when the object itself has none of the keys.
func pick(v any, fields string) (any, error) {
	names := keysOf(fields)
	if len(names) == 0 {
		return v, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	if root, ok := tree.(map[string]any); ok && !hasAny(root, names) {
		lists := 0
		for key, member := range root {
			if list, ok := member.([]any); ok {
				root[key] = keep(list, names)
				lists++
			}
		}
		if lists > 0 {
			return root, nil
		}
	}
	return keep(tree, names), nil
}

// keysOf are the keys of the parameter fields.
func keysOf(fields string) map[string]bool {
	names := map[string]bool{}
	for name := range strings.SplitSeq(fields, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names[name] = true
		}
	}
	return names
}

func hasAny(root map[string]any, names map[string]bool) bool {
	for key := range root {
		if names[key] {
			return true
		}
	}
	return false
}

func keep(tree any, names map[string]bool) any {
	switch v := tree.(type) {
	case []any:
		for i := range v {
			v[i] = keep(v[i], names)
		}
	case map[string]any:
		for key := range v {
			if !names[key] {
				delete(v, key)
			}
		}
	}
	return tree
}

func projectToWire(org remuda.Organization) projectWire {
	made := created(org.CreatedAt)
	return projectWire{
		ID: remuda.ShortID(org.ID), Name: org.Name, ACG: acgAll, Status: projectActive, Description: "", DateCreated: made, DateModified: made, Owner: administrator,
	}
}
