package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/cli/strictyaml"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
)

// maxDeclared bounds one file of declared runtimes.
const maxDeclared = 1 << 20

// declaration is a runtime as a file says that it shall be.
type declaration struct {
	api.RuntimeCreate

	file   string
	places strictyaml.Places
}

// where is the place of a field, for people.
func (d declaration) where(field string) string { return place(d.file, d.places.Line(field)) }

// place is a line of a file as editors and compilers write it.
func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// declared is what several files say together.
type declared struct {
	set      string // the name that ties them together for --prune; may be empty
	runtimes []declaration
}

// manifest is a document with several runtimes.
type manifest struct {
	Set      string              `json:"set,omitempty"`
	Runtimes []api.RuntimeCreate `json:"runtimes,omitempty"`
}

// fileFlags choose the files.
type fileFlags struct {
	files []string
	set   string
}

func (f *fileFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.files, "file", "f", nil, "`FILE` with runtimes, a directory of such files, or - for standard input (may be repeated)")
}

func (f *fileFlags) addSet(flags *pflag.FlagSet) {
	flags.StringVar(&f.set, "set", "", "`NAME` of the set that the files are, which --prune goes by (default: the `set` in the files)")
}

// readDeclared reads every file and refuses all of them when anything is wrong in
// one.
func (c *command) readDeclared(f fileFlags) (declared, error) {
	if len(f.files) == 0 {
		return declared{}, usageError("no file is given", "name it with -f, like -f runtimes.yaml; - is standard input")
	}
	r := declaredReader{declared: declared{set: f.set}}
	for _, name := range f.files {
		files, err := filesOf(name)
		if err != nil {
			return declared{}, err
		}
		for _, file := range files {
			raw, err := c.readDeclaredFile(file)
			if err != nil {
				return declared{}, err
			}
			r.read(file, raw)
		}
	}
	if message := checkSet(r.set); message != "" {
		return declared{}, usageError("the set %q %s", "choose another name for it", r.set, message)
	}
	r.twice()
	if len(r.wrong) > 0 {
		return declared{}, invalidFiles("the declared runtimes are not valid", r.wrong)
	}
	return r.declared, nil
}

// maxToldProblems bounds how much is said about files that hold something else.
const maxToldProblems = 20

func invalidFiles(message string, wrong []remuda.FieldError) error {
	if more := len(wrong) - maxToldProblems; more > 0 {
		wrong = append(wrong[:maxToldProblems:maxToldProblems], remuda.FieldError{Field: "and more", Message: fmt.Sprintf("%d other lines are wrong too", more)})
	}
	return &remuda.Error{Code: remuda.CodeInvalid, Message: message, Fields: wrong, Remedy: "mend the lines that are named; nothing was changed. docs/declarative.md lists the fields"}
}

func checkSet(name string) string {
	if name == "" {
		return ""
	}
	return runtimes.CheckName(name)
}

// filesOf is the file itself or, of a directory, the files of runtimes directly in
// it.
func filesOf(name string) ([]string, error) {
	if !isDirectory(name) {
		return []string{name}, nil // reading it says what is wrong
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, &remuda.Error{Code: remuda.CodeInvalid, Message: "cannot read the directory", Cause: err.Error(), Remedy: "check the path"}
	}
	var files []string
	for _, entry := range entries {
		ending := filepath.Ext(entry.Name())
		if !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") && slices.Contains([]string{".yaml", ".yml", ".json"}, ending) {
			files = append(files, filepath.Join(name, entry.Name()))
		}
	}
	if len(files) == 0 {
		return nil, &remuda.Error{Code: remuda.CodeInvalid, Message: "the directory " + name + " holds no declared runtimes", Cause: "no file in it ends in .yaml, .yml or .json", Remedy: "name the directory that holds them, or the files"}
	}
	return files, nil
}

func isDirectory(name string) bool {
	info, err := os.Stat(name)
	return name != "-" && err == nil && info.IsDir()
}

func (c *command) readDeclaredFile(name string) ([]byte, error) {
	read := func() ([]byte, error) { return readFileLimit(name, maxDeclared, "the file") }
	if name == "-" {
		read = func() ([]byte, error) { return readLimit(c.Stdin, maxDeclared, "standard input") }
	}
	raw, err := read()
	if e, ok := errors.AsType[*remuda.Error](err); ok && e.Code == remuda.CodeTooLarge {
		e.Remedy = "split it into several files"
	}
	return raw, err
}

// declaredReader gathers what files say, and all that is wrong with it.
type declaredReader struct {
	declared

	wrong []remuda.FieldError
	found []strictyaml.Problem // in the file that is read
}

func (r *declaredReader) problem(line int, format string, args ...any) {
	r.found = append(r.found, strictyaml.Problem{Line: line, Message: fmt.Sprintf(format, args...)})
}

func (r *declaredReader) fail(where, message string) {
	r.wrong = append(r.wrong, remuda.FieldError{Field: where, Message: message})
}

func (r *declaredReader) read(file string, raw []byte) {
	if file == "-" {
		file = "standard input"
	}
	docs, problems := strictyaml.Parse(raw)
	if len(problems) == 0 && len(docs) == 0 {
		r.fail(file, "declares nothing")
	}
	for _, doc := range docs {
		r.document(file, doc)
		problems = append(problems, r.found...)
		r.found = nil
	}
	slices.SortStableFunc(problems, func(a, b strictyaml.Problem) int { return a.Line - b.Line })
	for _, p := range problems {
		r.fail(place(file, p.Line), p.Message)
	}
}

// document reads one runtime, or a list of them.
func (r *declaredReader) document(file string, doc strictyaml.Document) {
	if !doc.Has("runtimes") && !doc.Has("set") {
		d := declaration{file: file}
		if d.places, r.found = doc.Decode(&d.RuntimeCreate); len(r.found) == 0 {
			r.add(d)
		}
		return
	}
	var m manifest
	var places strictyaml.Places
	if places, r.found = doc.Decode(&m); len(r.found) > 0 {
		return
	}
	if len(m.Runtimes) == 0 {
		r.problem(places.Line("runtimes"), "declares no runtime")
	}
	switch {
	case r.set == "":
		r.set = m.Set
	case m.Set != "" && m.Set != r.set:
		r.problem(places.Line("set"), "this is of the set %q, not of %q: apply each set by itself", m.Set, r.set)
	}
	for i, rt := range m.Runtimes {
		r.add(declaration{RuntimeCreate: rt, file: file, places: places.Under(fmt.Sprintf("runtimes[%d]", i))})
	}
}

// add checks what can be known without the server, so that little is left that
// it could refuse when something has been changed already.
func (r *declaredReader) add(d declaration) {
	r.runtimes = append(r.runtimes, d)
	check := func(field, message string) {
		if message != "" {
			r.problem(d.places.Line(field), "%s %s", field, message)
		}
	}
	if d.Name == "" {
		check("name", "must not be empty")
	} else {
		check("name", runtimes.CheckRuntimeName(d.Name))
	}
	if !slices.Contains(remuda.Languages(), remuda.Language(d.Language)) {
		check("language", fmt.Sprintf("must be one of %s, not %q", words(remuda.Languages()), d.Language))
	}
	if class := remuda.Isolation(deref(d.Isolation)); class != "" && !slices.Contains(remuda.Isolations(), class) {
		check("isolation", fmt.Sprintf("must be one of %s, not %q", words(remuda.Isolations()), class))
	}
	for _, f := range runtimes.CheckEnv("env", d.Env) {
		check(f.Field, f.Message)
	}
	if d.Egress != nil {
		for i, text := range d.Egress.Cidrs {
			if _, err := netip.ParsePrefix(text); err != nil {
				check(fmt.Sprintf("egress.cidrs[%d]", i), fmt.Sprintf("must be a range of addresses such as 10.1.0.0/16, 192.0.2.7/32 or 2001:db8::/32, not %q", text))
			}
		}
	}
	if p := d.Pool; p != nil && p.MaxCached != nil && deref(p.MaxCached) < deref(p.MinCached) {
		check("pool.max_cached", fmt.Sprintf("must be at least min_cached, which is %d", deref(p.MinCached)))
	}
	for field, v := range numbers(d.RuntimeCreate) {
		if v < 0 {
			check(field, "must not be negative")
		}
	}
}

// numbers are the numbers of a definition that are given.
func numbers(d api.RuntimeCreate) map[string]float64 {
	out := map[string]float64{}
	put := func(field string, v *int) {
		if v != nil {
			out[field] = float64(*v)
		}
	}
	put("exec_timeout_s", d.ExecTimeoutS)
	if res := d.Resources; res != nil {
		put("resources.memory_mb", res.MemoryMb)
		put("resources.disk_mb", res.DiskMb)
		put("resources.pids", res.Pids)
		if res.Cpu != nil {
			out["resources.cpu"] = *res.Cpu
		}
	}
	if p := d.Pool; p != nil {
		put("pool.min_cached", p.MinCached)
		put("pool.max_cached", p.MaxCached)
	}
	return out
}

func words[T ~string](list []T) string { return strings.Join(wordList(list), ", ") }

func wordList[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}

// twice finds runtimes that are declared more than once.
func (r *declaredReader) twice() {
	first := map[string]declaration{}
	for _, d := range r.runtimes {
		if before, ok := first[d.Name]; ok {
			r.fail(d.where("name"), fmt.Sprintf("the runtime %q is declared before, at %s", d.Name, before.where("name")))
			continue
		}
		first[d.Name] = d
	}
}
