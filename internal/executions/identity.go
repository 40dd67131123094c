package executions

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Bounds of an identity.
const (
	maxSubject    = 256 // bytes, as has a label's value
	maxLabels     = 32
	reservedLabel = "remuda"
)

var labelName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$`)

// identity checks for whom a script is said to run. Labels that could be taken
// for the server's own word are refused.
func (c *checker) identity(who *remuda.Identity) {
	if who == nil {
		return
	}
	if who.Subject == "" && len(who.Labels) == 0 {
		c.add("identity", "needs a subject or labels")
	}
	c.plain("identity.subject", who.Subject)
	if len(who.Labels) > maxLabels {
		c.add("identity.labels", "has %d labels; at most %d are allowed", len(who.Labels), maxLabels)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(who.Labels)) {
		switch first := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("._/-", r) }); {
		case !labelName.MatchString(name):
			c.add("identity.labels", "has the name %q, which is not 1 to 63 lower case letters, digits, dots, underscores, slashes and hyphens that begin and end with a letter or digit", shorten(name))
		case first[0] == reservedLabel:
			c.add("identity.labels."+name, "is reserved: names that begin with %s are the server's", reservedLabel)
		default:
			c.plain("identity.labels."+name, who.Labels[name])
		}
	}
}

// plain is one line of text that can be shown anywhere.
func (c *checker) plain(field, text string) {
	if len(text) > maxSubject {
		c.add(field, "is %d bytes long; at most %d are allowed", len(text), maxSubject)
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		c.add(field, "must be valid UTF-8 without control characters")
	}
}

// withIdentity adds the variable that says for whom a script runs.
func withIdentity(env map[string]string, who *remuda.Identity) map[string]string {
	if who == nil {
		return env
	}
	all := make(map[string]string, len(env)+1)
	maps.Copy(all, env)
	raw, _ := json.Marshal(who) // strings only: it cannot fail
	all[remuda.EnvIdentity] = string(raw)
	return all
}
