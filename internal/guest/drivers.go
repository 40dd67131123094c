package guest

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// The drivers. The Python driver has four parts: the one that every start runs (the
// local engine compiles it ahead), two that are compiled when a script first needs
// them, and the one that makes it a template. That of Node.js is two,
// likewise.
var (
	//go:embed drivers/driver.py
	pythonCore string
	//go:embed drivers/driver_late.py
	pythonLate string
	//go:embed drivers/driver_records.py
	pythonRecords string
	//go:embed drivers/driver_objects.py
	pythonObjects string
	//go:embed drivers/driver_template.py
	pythonTemplate string
	//go:embed drivers/driver.js
	nodeCore string
	//go:embed drivers/driver_records.js
	nodeRecords string
	//go:embed drivers/driver.sh
	bashSource string
	//go:embed drivers/driver_loop.sh
	bashLoop string
)

// Program is a driver ready to be put into the prepared root of sandboxes, or
// into a Setup frame without one.
type Program struct {
	Source []byte   // of the driver, or what an engine compiled it to
	Path   string   // where it goes in the sandbox
	Argv   []string // that starts it, for Setup.Argv
}

// Driver returns the driver for a language, to be run by the interpreter at the
// given path inside the sandbox.
func Driver(language remuda.Language, interpreter string) (Program, error) {
	switch language {
	case remuda.LanguagePython:
		const path = "/run/remuda/driver.py"
		source := strings.Replace(pythonCore, `"@LATE@"`, pythonString(pythonLate), 1)
		source = strings.Replace(source, `"@RECORDS@"`, pythonString(pythonRecords+pythonObjects), 1)
		source = strings.Replace(source, `"@TEMPLATE@"`, pythonString(pythonTemplate), 1)
		return Program{Source: []byte(source), Path: path, Argv: []string{interpreter, "-I", "-S", "-B", path}}, nil
	case remuda.LanguageNode:
		const path = "/run/remuda/driver.js"
		source := strings.Replace(nodeCore, `'@RECORDS@'`, pythonString(nodeRecords), 1) // also JavaScript's, of what is in it
		return Program{Source: []byte(source), Path: path, Argv: []string{interpreter, path}}, nil
	case remuda.LanguageBash:
		const path = "/run/remuda/driver.sh"
		return Program{Source: []byte(bashSource), Path: path, Argv: []string{interpreter, "--noprofile", "--norc", "-c", strings.TrimSpace(bashLoop), "bash"}}, nil
	}
	return Program{}, fmt.Errorf("no driver for language %q: use one of %v", language, remuda.Languages())
}

// pythonString writes s as a Python string literal; Go's quoting of plain ASCII
// text is also Python's.
func pythonString(s string) string { return strconv.QuoteToASCII(s) }
