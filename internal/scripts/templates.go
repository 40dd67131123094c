package scripts

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/remuda"
)

// ArgumentTemplate makes a parameter script out of plain values: a script whose
// value is the argument of another script. Values are quoted, so that they are
// never code.
type ArgumentTemplate struct {
	ID string
	// Runtime is what runs the script: a language, or "PowerCLI".
	Runtime      string
	ResultType   string   // of the argument, in the words of that runtime
	Text         string   // with <placeholders>
	Placeholders []string // each of which needs at least one value

	quoting quoting
	// one says that a placeholder takes exactly one value.
	one bool
}

// Bounds of what is filled in at once.
const (
	maxFills      = 1000 // value lists in one call
	maxFillValues = 1000 // values of one placeholder
)

// powerCLI is the runtime of the templates for PowerShell (compat/srs.md A3).
const powerCLI = "PowerCLI"

// argumentTemplates are listed in this order.
var argumentTemplates = slices.Concat(vendorTemplates(), ownTemplates())

// vendorTemplates are those of compat/srs.md A8. Nothing here runs PowerShell; a
// runtime that brings it can use what they make.
func vendorTemplates() []ArgumentTemplate {
	var list []ArgumentTemplate
	for _, k := range []struct{ kind, cmdlet, result string }{
		{"cluster", "Get-Cluster", "VMware.VimAutomation.Types.Cluster"},
		{"contentlibrary", "Get-ContentLibrary", "VMware.VimAutomation.Types.ContentLibrary"},
		{"contentlibraryitem", "Get-ContentLibraryItem", "VMware.VimAutomation.Types.ContentLibraryItem"},
		{"datacenter", "Get-Datacenter", "VMware.VimAutomation.Types.Datacenter"},
		{"datastore", "Get-Datastore", "VMware.VimAutomation.Types.Datastore"},
		{"datastorecluster", "Get-DatastoreCluster", "VMware.VimAutomation.Types.DatastoreCluster"},
		{"folder", "Get-Folder", "VMware.VimAutomation.Types.Folder"},
		{"network", "Get-VirtualNetwork", "VMware.VimAutomation.Types.VirtualNetwork"},
		{"resourcepool", "Get-ResourcePool", "VMware.VimAutomation.Types.ResourcePool"},
		{"template", "Get-Template", "VMware.VimAutomation.Types.Template"},
		{"vapp", "Get-VApp", "VMware.VimAutomation.Types.VApp"},
		{"vdportgroup", "Get-VDPortgroup", "VMware.VimAutomation.Types.VDPortgroup"},
		{"vdswitch", "Get-VDSwitch", "VMware.VimAutomation.Types.VDSwitch"},
		{"vm", "Get-VM", "VMware.VimAutomation.Types.VirtualMachine"},
		{"vmhost", "Get-VMHost", "VMware.VimAutomation.Types.VMHost"},
		{"vmhostprofile", "Get-VMHostProfile", "VMware.VimAutomation.Types.VMHostProfile"},
	} {
		list = append(list,
			ArgumentTemplate{
				ID: k.kind + "-by-id-server-name", Runtime: powerCLI, ResultType: k.result,
				Text: k.cmdlet + " -Id <id> -Server <server>", Placeholders: []string{"id", "server"}, quoting: quotePowerShell,
			},
			ArgumentTemplate{
				ID: k.kind + "-by-id-server-instance-uuid", Runtime: powerCLI, ResultType: k.result,
				Text:         k.cmdlet + " -Id <id> -Server ($global:DefaultVIServers | Where-Object {$_.InstanceUuid -eq <server_instance_uuid>})",
				Placeholders: []string{"id", "server_instance_uuid"}, quoting: quotePowerShell,
			})
	}
	return append(list, ArgumentTemplate{
		ID: "date-by-string", Runtime: powerCLI, ResultType: "System.DateTime", Text: "Get-Date -Date <value>", Placeholders: []string{"value"}, quoting: quotePowerShell,
	})
}

// ownTemplates are for the languages that run here.
func ownTemplates() []ArgumentTemplate {
	own := func(id string, language remuda.Language, result, text, placeholder string, one bool) ArgumentTemplate {
		q := map[remuda.Language]quoting{remuda.LanguagePython: quotePython, remuda.LanguageNode: quoteNode, remuda.LanguageBash: quoteBash}[language]
		return ArgumentTemplate{ID: id, Runtime: string(language), ResultType: result, Text: text, Placeholders: []string{placeholder}, quoting: q, one: one}
	}
	return []ArgumentTemplate{
		own("python-literal", remuda.LanguagePython, "builtins.str", "<value>", "value", false),
		own("python-int-by-string", remuda.LanguagePython, "builtins.int", "int(<value>)", "value", true),
		own("python-datetime-by-string", remuda.LanguagePython, "datetime.datetime", `__import__("datetime").datetime.fromisoformat(<value>)`, "value", true),
		own("python-file-text", remuda.LanguagePython, "builtins.str", `__import__("pathlib").Path(<path>).read_text(encoding="utf-8")`, "path", true),
		own("node-literal", remuda.LanguageNode, "String", "(<value>)", "value", false),
		own("node-date-by-string", remuda.LanguageNode, "Date", "new Date(<value>)", "value", true),
		own("node-file-text", remuda.LanguageNode, "String", `require("fs").readFileSync(<path>, "utf8")`, "path", true),
		own("bash-word", remuda.LanguageBash, "String", `printf '%s\n' <value>`, "value", false),
		own("bash-file-text", remuda.LanguageBash, "String", "cat -- <path>", "path", false),
	}
}

// Templates lists the argument templates, always in the same order.
func Templates() []ArgumentTemplate {
	list := slices.Clone(argumentTemplates)
	for i := range list {
		list[i].Placeholders = slices.Clone(list[i].Placeholders)
	}
	return list
}

// Template returns an argument template.
func Template(id string) (ArgumentTemplate, error) {
	i := slices.IndexFunc(argumentTemplates, func(t ArgumentTemplate) bool { return t.ID == id })
	if i < 0 {
		return ArgumentTemplate{}, remuda.NotFound("argument template", clip(id))
	}
	t := argumentTemplates[i]
	t.Placeholders = slices.Clone(t.Placeholders)
	return t, nil
}

// FillTemplate makes a script of an argument template. Each list of values makes one
// argument; several make a list of arguments.
func FillTemplate(id string, fills []map[string][]string) (string, error) {
	t, err := Template(id)
	if err != nil {
		return "", err
	}
	if err := t.check(fills); err != nil {
		return "", err
	}
	items := make([]string, len(fills))
	size := 0
	for i, values := range fills {
		items[i] = t.fill(values)
		if size += len(items[i]); size > remuda.MaxScriptBytes {
			return "", remuda.Invalid(remuda.FieldError{Field: "values", Message: fmt.Sprintf("would make a script of more than %d bytes", remuda.MaxScriptBytes)})
		}
	}
	return t.quoting.join(items), nil
}

func (t ArgumentTemplate) check(fills []map[string][]string) error {
	var c checker
	if len(fills) == 0 || len(fills) > maxFills {
		c.add("values", "must have between 1 and %d entries", maxFills)
		return remuda.Invalid(c.fields...)
	}
	for i, values := range fills {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if !slices.Contains(t.Placeholders, name) {
				c.add(fmt.Sprintf("values[%d]", i), "has a value for %q, which is no placeholder of %s; it has %s", clip(name), t.ID, strings.Join(t.Placeholders, ", "))
			}
		}
		for _, name := range t.Placeholders {
			t.checkValues(&c, fmt.Sprintf("values[%d].%s", i, name), values[name])
		}
		if len(c.fields) >= 20 {
			break
		}
	}
	if len(c.fields) > 0 {
		return remuda.Invalid(c.fields...)
	}
	return nil
}

func (t ArgumentTemplate) checkValues(c *checker, field string, values []string) {
	switch n := len(values); {
	case n == 0:
		c.add(field, "needs a value")
	case n > 1 && t.one:
		c.add(field, "takes exactly one value; give another entry for another argument")
	case n > maxFillValues:
		c.add(field, "has %d values; at most %d are allowed", n, maxFillValues)
	}
	for _, v := range values {
		if len(v) > maxValueBytes || !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			c.add(field, "must be valid UTF-8 of at most %d bytes without NUL characters", maxValueBytes)
			return
		}
	}
}

var placeholderPattern = regexp.MustCompile(`<[a-z_]+>`)

// fill goes over the template's text once: a value that looks like a placeholder is
// a value.
func (t ArgumentTemplate) fill(values map[string][]string) string {
	return placeholderPattern.ReplaceAllStringFunc(t.Text, func(mark string) string {
		return t.quoting.values(values[mark[1:len(mark)-1]])
	})
}

// clip bounds what of a caller's word is told in an error.
func clip(s string) string {
	const limit = 100
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
