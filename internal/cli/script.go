package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

// scriptFlags are the flags that run and exec share.
type scriptFlags struct {
	code    string
	coded   bool // -c was given, perhaps with an empty text
	env     []string
	params  []string
	files   []string
	timeout time.Duration
	subject string
	name    string
	streams bool
	objects bool
}

func (f *scriptFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.code, "code", "c", "", "run this text instead of a file")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "environment variable `K=V` of the script, or K to pass one's own on (may be repeated)")
	flags.StringArrayVarP(&f.params, "param", "p", nil, "parameter `name=JSON`, bound to that name in the script (may be repeated)")
	flags.StringArrayVar(&f.files, "file", nil, "put a local file into the workspace first: `PATH[:NAME]`, the name is the file's own when absent (may be repeated)")
	flags.DurationVar(&f.timeout, "timeout", 0, "wall-clock limit, like 10s (default and upper bound: the runtime's)")
	flags.StringVar(&f.subject, "subject", "", "for whom the script runs; it finds this as JSON in REMUDA_IDENTITY")
	flags.StringVar(&f.name, "name", "", "name of the execution on a server, for people")
	flags.BoolVar(&f.streams, "streams", false, "keep what the language's logging says as messages, and show them; `remuda streams` reads them again")
	flags.BoolVar(&f.objects, "objects", false, "print what the script evaluates to as objects, a line of JSON each")
	// As python and docker do: what follows the script belongs to the script.
	flags.SetInterspersed(false)
}

// script is what is to be run, read and checked.
type script struct {
	name       string // for the language; "" is standard input or -c
	text       string
	codeFile   string // in the workspace, instead of text
	args       []string
	parameters map[string]json.RawMessage
	env        map[string]string
	stdin      []byte
	files      []remuda.File
	timeout    time.Duration
	subject    string // of the identity; "" is none
	title      string // of the execution
	streams    bool
	objects    bool
	queue      bool                  // wait for its turn in a runspace
	scripts    []api.ParameterScript // of parameters
	limits     remuda.Resources      // of a server's runtime, lowered
	egress     *api.Egress
}

// readScript turns flags and arguments into a script.
func (c *command) readScript(f *scriptFlags, args []string) (*script, error) {
	s := &script{timeout: f.timeout, subject: f.subject, title: f.name, streams: f.streams, objects: f.objects}
	if f.timeout < 0 {
		return nil, usageError("--timeout %s is negative", "write it like 10s or 1m30s", f.timeout)
	}
	fromStdin := false
	switch {
	case f.coded:
		s.text, s.args = f.code, args
	case len(args) == 0 || args[0] == "-":
		if isTerminal(c.Stdin) && len(args) == 0 {
			return nil, usageError("no script", "name a file, give the text with -c, or pipe it in")
		}
		text, err := readLimit(c.Stdin, remuda.MaxScriptBytes, "the script on standard input")
		if err != nil {
			return nil, err
		}
		s.text, s.args, fromStdin = string(text), args[min(1, len(args)):], true
	default:
		text, err := readFileLimit(args[0], remuda.MaxScriptBytes, "the script")
		if err != nil {
			return nil, err
		}
		s.name, s.text, s.args = args[0], string(text), args[1:]
	}
	if len(s.args) > 0 && s.args[0] == "--" {
		s.args = s.args[1:]
	}
	if err := s.readOptions(f, c); err != nil {
		return nil, err
	}
	if !fromStdin && !isTerminal(c.Stdin) && c.Stdin != nil {
		stdin, err := readLimit(c.Stdin, remuda.MaxStdinBytes, "standard input")
		if err != nil {
			return nil, err
		}
		s.stdin = stdin
	}
	return s, nil
}

func (s *script) readOptions(f *scriptFlags, c *command) (err error) {
	if s.env, err = c.readEnv(f.env); err != nil {
		return err
	}
	if s.parameters, err = readParams(f.params); err != nil {
		return err
	}
	for _, spec := range f.files {
		file, err := readUpload(spec)
		if err != nil {
			return err
		}
		s.files = append(s.files, file)
	}
	return nil
}

// readEnv parses K=V, or K for one's own value.
func (c *command) readEnv(list []string) (map[string]string, error) {
	env := map[string]string{}
	for _, item := range list {
		name, value, has := strings.Cut(item, "=")
		if name == "" {
			return nil, usageError("-e %q has no name", "write it like -e NAME=value", item)
		}
		if !has {
			own, ok := c.lookup(name)
			if !ok {
				continue // as docker does: what is not set here is not set there
			}
			value = own
		}
		env[name] = value
	}
	return env, nil
}

var paramName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func readParams(list []string) (map[string]json.RawMessage, error) {
	params := map[string]json.RawMessage{}
	for _, item := range list {
		name, value, has := strings.Cut(item, "=")
		if !has || !paramName.MatchString(name) {
			return nil, usageError("-p %q is not name=JSON", `write it like -p n=3 or -p name='"Ada"'`, item)
		}
		if !json.Valid([]byte(value)) {
			return nil, usageError("the value of -p %s is not JSON: %s", fmt.Sprintf("a text needs quotes of its own: -p '%s=%q'", name, value), name, value)
		}
		params[name] = json.RawMessage(value)
	}
	return params, nil
}

// readUpload reads PATH or PATH:NAME.
func readUpload(spec string) (remuda.File, error) {
	local, name, has := strings.Cut(spec, ":")
	if !has {
		name = filepath.Base(local)
	}
	if local == "" || !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) == "." {
		return remuda.File{}, usageError("--file %q is not PATH or PATH:NAME with a NAME inside the workspace", "write it like --file in.csv or --file data/in.csv:in.csv", spec)
	}
	content, err := readFileLimit(local, remuda.MaxFileBytes, "the file")
	if err != nil {
		return remuda.File{}, err
	}
	return remuda.File{Path: path.Clean(name), Content: content}, nil
}

func readFileLimit(name string, limit int, what string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, &remuda.Error{Code: remuda.CodeInvalid, Message: "cannot read " + what, Cause: err.Error(), Remedy: "check the path"}
	}
	defer func() { _ = f.Close() }() // only read
	return readLimit(f, limit, what+" "+name)
}

func readLimit(r io.Reader, limit int, what string) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, &remuda.Error{Code: remuda.CodeInvalid, Message: "cannot read " + what, Cause: err.Error()}
	}
	if len(raw) > limit {
		return nil, &remuda.Error{Code: remuda.CodeTooLarge, Message: what + " is too large", Cause: fmt.Sprintf("it has more than %d MiB", limit>>20), Remedy: "put the data into a runspace with `remuda runspace files put` and read it from there"}
	}
	return raw, nil
}

// languageOf tells the language from the file's extension or its first line.
func (s *script) language() (remuda.Language, bool) {
	switch strings.ToLower(filepath.Ext(s.name)) {
	case ".py":
		return remuda.LanguagePython, true
	case ".js", ".mjs", ".cjs":
		return remuda.LanguageNode, true
	case ".sh", ".bash":
		return remuda.LanguageBash, true
	}
	line, _ := bufio.NewReader(strings.NewReader(s.text)).ReadString('\n')
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return "", false
	}
	for word := range strings.FieldsSeq(rest) {
		switch name := path.Base(word); {
		case strings.HasPrefix(name, "python"):
			return remuda.LanguagePython, true
		case name == "node" || name == "nodejs":
			return remuda.LanguageNode, true
		case name == "bash" || name == "sh":
			return remuda.LanguageBash, true
		}
	}
	return "", false
}
