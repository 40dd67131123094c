package executions

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/runtimes"
)

// Bounds of one request, beside those of package remuda.
const (
	maxArgs           = 1024
	maxArgBytes       = 128 << 10
	maxParameters     = 256
	maxParameterBytes = 8 << 20
	maxFiles          = 256
)

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// checker collects the wrong fields of a request. large says that one of them
// is wrong by its size.
type checker struct {
	fields []remuda.FieldError
	large  bool
}

func (c *checker) add(field, format string, args ...any) {
	c.fields = append(c.fields, remuda.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) size(field string, n, limit int) {
	if n > limit {
		c.large = true
		c.add(field, "is %d bytes long; at most %d are allowed", n, limit)
	}
}

// err names every wrong field, nil when there is none.
func (c *checker) err() error {
	if len(c.fields) == 0 {
		return nil
	}
	e := remuda.Invalid(c.fields...)
	if c.large {
		e.Code = remuda.CodeTooLarge
	}
	return e
}

// check looks at everything but the time limit, which depends on the runtime.
func (c *checker) check(req remuda.ExecutionRequest) {
	switch {
	case req.Runtime == "" && req.Runspace == "":
		c.add("runtime", "is required: the id or name of a runtime, or a runspace instead")
	case req.Runtime != "" && req.Runspace != "":
		c.add("runtime", "must not be given together with a runspace, which has its own")
	}
	switch {
	case req.Script == "" && req.CodeFile == "":
		c.add("script", "is required, or code_file instead")
	case req.Script != "" && req.CodeFile != "":
		c.add("code_file", "must not be given together with script")
	}
	c.size("script", len(req.Script), remuda.MaxScriptBytes)
	if !utf8.ValidString(req.Script) {
		c.add("script", "must be valid UTF-8")
	}
	if req.CodeFile != "" {
		if message := runspaces.CheckPath(req.CodeFile); message != "" {
			c.add("code_file", "%s", message)
		}
	}
	c.size("stdin", len(req.Stdin), remuda.MaxStdinBytes)
	c.args(req.Args)
	c.parameters(req.Parameters)
	c.parameterScripts(req)
	c.fields = append(c.fields, runtimes.CheckEnv("env", req.Env)...)
	c.files(req.Files)
	c.identity(req.Identity)
	c.plain("name", req.Name)
	if req.Queue && req.Runspace == "" {
		c.add("queue", "is for executions in a runspace: a one-shot one has an instance of its own")
	}
}

func (c *checker) args(args []string) {
	if len(args) > maxArgs {
		c.add("args", "has %d elements; at most %d are allowed", len(args), maxArgs)
		return
	}
	total := 0
	for i, arg := range args {
		total += len(arg)
		if strings.ContainsRune(arg, 0) || !utf8.ValidString(arg) {
			c.add(fmt.Sprintf("args[%d]", i), "must be valid UTF-8 without NUL characters")
		}
	}
	c.size("args", total, maxArgBytes)
}

func (c *checker) parameters(parameters map[string]json.RawMessage) {
	if len(parameters) > maxParameters {
		c.add("parameters", "has %d names; at most %d are allowed", len(parameters), maxParameters)
		return
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		value := parameters[name]
		total += len(value)
		if !identifier.MatchString(name) {
			c.add("parameters", "has the name %q, which is no identifier of at most 64 letters, digits and underscores", shorten(name))
		} else if !json.Valid(value) {
			c.add("parameters."+name, "must be a JSON value")
		}
	}
	c.size("parameters", total, maxParameterBytes)
}

func (c *checker) files(files []remuda.File) {
	if len(files) > maxFiles {
		c.add("files", "has %d elements; at most %d are allowed", len(files), maxFiles)
		return
	}
	total := 0
	first := make(map[string]int, len(files))
	for i, f := range files {
		field := fmt.Sprintf("files[%d].path", i)
		if message := runspaces.CheckPath(f.Path); message != "" {
			c.add(field, "%s", message)
		} else if n, ok := first[f.Path]; ok {
			c.add(field, "names the same file as files[%d]", n)
		} else {
			first[f.Path] = i
		}
		total += len(f.Content)
	}
	for i, f := range files { // no file can be the folder of another
		for folder := path.Dir(f.Path); folder != "." && folder != "/"; folder = path.Dir(folder) {
			if n, ok := first[folder]; ok {
				c.add(fmt.Sprintf("files[%d].path", i), "lies in %s, which files[%d] makes a file", shorten(folder), n)
			}
		}
	}
	c.size("files", total, remuda.MaxFileBytes)
}

// timeout checks the time limit against the runtime's, which is never exceeded
// and never put in its place silently.
func (c *checker) timeout(asked time.Duration, def remuda.Definition) {
	switch {
	case asked < 0:
		c.add("timeout_s", "must not be negative")
	case asked > def.ExecTimeout:
		c.add("timeout_s", "is %s, above the runtime's limit of %s; ask for less, or change exec_timeout_s of the runtime", asked, def.ExecTimeout)
	}
}

// within checks what may be at most the runtime's.
func (c *checker) within(req remuda.ExecutionRequest, def remuda.Definition) {
	c.timeout(req.Timeout, def)
	c.fields = append(c.fields, runtimes.CheckLimits("limits", req.Limits, def.Resources)...)
	if req.Egress != nil {
		c.fields = append(c.fields, runtimes.CheckNarrowedEgress(*req.Egress, def.Egress)...)
	}
}

// notNarrowed refuses what only a one-shot execution can have.
func (c *checker) notNarrowed(req remuda.ExecutionRequest) {
	const why = "is for one-shot executions only: what runs in a runspace has the fence of its instance"
	if req.Limits != (remuda.Resources{}) {
		c.add("limits", why)
	}
	if req.Egress != nil {
		c.add("egress", why)
	}
}

// shorten bounds a text that comes from outside for a message.
func shorten(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
