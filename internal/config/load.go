package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"

	"github.com/remuda-run/remuda/internal/remuda"
)

// maxFileBytes bounds the file; a longer one is not a settings file.
const maxFileBytes = 1 << 20

// Origins of a value.
const (
	OriginDefault = "default"
	OriginFile    = "file"
	OriginEnv     = "environment"
	OriginFlag    = "flag"
)

// Sources is where Load looks.
type Sources struct {
	File        string            // named by the user; it must exist
	SearchPaths []string          // looked through when File is ""
	Environ     []string          // NAME=value
	Flags       map[string]string // by key, only those that were given
}

// Value is a setting as it was found.
type Value struct {
	Setting
	Text   string // as it would be written; "(set)" for a secret that is not empty
	Origin string // OriginDefault, ...
	Detail string // "/etc/remuda/remuda.yaml:3", "REMUDA_DATA", "--data"; "" for a default
}

// Loaded is the outcome of Load.
type Loaded struct {
	Config Config
	Values []Value // in the order of Settings
	File   string  // that was read; "" is none
}

// found is one value of one source.
type found struct {
	value          any
	origin, detail string
}

// loader gathers values and everything that is wrong with them.
type loader struct {
	settings map[string]Setting
	keys     []string
	values   map[string]found
	wrong    []remuda.FieldError
}

// Load finds every setting. The error is a *remuda.Error that names every wrong
// key with its place and the nearest known key.
func Load(src Sources) (*Loaded, error) {
	l := &loader{settings: map[string]Setting{}, values: map[string]found{}}
	for _, s := range Settings() {
		l.settings[s.Key] = s
		l.keys = append(l.keys, s.Key)
	}
	file := src.File
	if file == "" {
		file = firstExisting(src.SearchPaths)
	}
	if file != "" {
		if err := l.readFile(file); err != nil {
			return nil, err
		}
	}
	l.readEnviron(src.Environ)
	l.readFlags(src.Flags)
	out := &Loaded{File: file}
	if len(l.wrong) == 0 {
		if err := l.unmarshal(&out.Config); err != nil {
			return nil, err
		}
		l.wrong = l.validate(out.Config)
	}
	if len(l.wrong) > 0 {
		return nil, settingsError(l.wrong)
	}
	out.Values = l.explain(out.Config)
	return out, nil
}

func settingsError(wrong []remuda.FieldError) error {
	e := &remuda.Error{
		Code: remuda.CodeInvalid, Message: "the settings are not valid", Fields: wrong,
		Remedy: "correct what is named; `remuda config show` lists every setting and where it comes from",
	}
	if len(wrong) == 1 {
		e.Cause = wrong[0].Field + ": " + wrong[0].Message
		e.Fields = nil
	}
	return e
}

func (l *loader) fail(place, format string, args ...any) {
	l.wrong = append(l.wrong, remuda.FieldError{Field: place, Message: fmt.Sprintf(format, args...)})
}

func (l *loader) set(key, raw, origin, detail string) {
	value, err := l.settings[key].Parse(raw)
	if err != nil {
		l.fail(detail, "%s", err)
		return
	}
	l.values[key] = found{value: value, origin: origin, detail: detail}
}

func (l *loader) readFile(name string) error {
	raw, err := readLimited(name)
	if err != nil {
		return &remuda.Error{
			Code: remuda.CodeInvalid, Message: "cannot read the settings file " + name, Cause: err.Error(),
			Remedy: "name another file with --config or REMUDA_CONFIG, or make this one readable",
		}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return &remuda.Error{Code: remuda.CodeInvalid, Message: "the settings file " + name + " is not YAML", Cause: err.Error(), Remedy: "one setting a line, like `listen: 127.0.0.1:8080`"}
	}
	if len(doc.Content) == 0 {
		return nil // empty, or comments only
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		l.fail(fmt.Sprintf("%s:%d", name, root.Line), "expected settings like `listen: 127.0.0.1:8080`")
		return nil
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		place := fmt.Sprintf("%s:%d", name, key.Line)
		switch _, known := l.settings[key.Value]; {
		case !known:
			l.fail(place, "%s", Unknown("setting", key.Value, l.keys))
		case seen[key.Value]:
			l.fail(place, "%q is set twice", key.Value)
		default:
			l.fileValue(key.Value, value, place)
		}
		seen[key.Value] = true
	}
	return nil
}

func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(raw) > maxFileBytes {
		err = errors.New("the file is larger than 1 MiB")
	}
	return raw, err
}

func (l *loader) fileValue(key string, value *yaml.Node, place string) {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if value.Kind == yaml.SequenceNode && l.settings[key].Kind == "list" {
		var list []string
		if err := value.Decode(&list); err != nil {
			l.fail(place, "%q takes a list of texts", key)
			return
		}
		l.values[key] = found{value: list, origin: OriginFile, detail: place}
		return
	}
	if value.Kind != yaml.ScalarNode {
		l.fail(place, "%q takes one value (%s), not a group", key, l.settings[key].Kind)
		return
	}
	l.set(key, value.Value, OriginFile, place)
}

// Unknown says that a name is none of those that are known, and names the nearest.
func Unknown(what, got string, names []string) string {
	if near := nearest(got, names); near != "" {
		return fmt.Sprintf("unknown %s %q; did you mean %q?", what, got, near)
	}
	return fmt.Sprintf("unknown %s %q", what, got)
}

// foreignEnv are variables with our prefix that are not settings: the file's
// name, those that Kubernetes gives every pod next to a service called
// "remuda", and those of the project's own tests.
func foreignEnv(name string) bool {
	rest := strings.TrimPrefix(name, EnvPrefix)
	return rest == "CONFIG" || rest == "BIN" || rest == "PORT" || strings.HasPrefix(rest, "PORT_") ||
		strings.HasPrefix(rest, "SERVICE_") || strings.HasPrefix(rest, "TEST_")
}

func (l *loader) readEnviron(environ []string) {
	byName := map[string]string{}
	var names []string
	for key, s := range l.settings {
		byName[s.Env] = key
		names = append(names, s.Env)
	}
	slices.Sort(names)
	for _, line := range slices.Sorted(slices.Values(environ)) {
		name, raw, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, EnvPrefix) || foreignEnv(name) {
			continue
		}
		key, known := byName[name]
		if !known {
			l.fail("environment", "%s", Unknown("variable", name, names))
			continue
		}
		l.set(key, raw, OriginEnv, name)
	}
}

func (l *loader) readFlags(flags map[string]string) {
	for _, key := range l.keys {
		if raw, given := flags[key]; given {
			l.set(key, raw, OriginFlag, "--"+l.settings[key].Flag)
		}
	}
}

// unmarshal lays the values found over the defaults. The layers were applied in
// order before, so that each value could keep its origin.
func (l *loader) unmarshal(out *Config) error {
	*out = Default()
	values := map[string]any{}
	for key, f := range l.values {
		values[key] = f.value
	}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(values, ""), nil); err != nil {
		return fmt.Errorf("gather settings: %w", err)
	}
	if err := k.UnmarshalWithConf("", out, koanf.UnmarshalConf{Tag: "koanf"}); err != nil {
		return fmt.Errorf("gather settings: %w", err)
	}
	return nil
}

func (l *loader) explain(c Config) []Value {
	var out []Value
	v := reflect.ValueOf(c)
	for _, key := range l.keys {
		s := l.settings[key]
		value := Value{Setting: s, Text: text(v.Field(s.index)), Origin: OriginDefault}
		if f, set := l.values[key]; set {
			value.Origin, value.Detail = f.origin, f.detail
		}
		if s.Secret && value.Text != "" {
			value.Text = "(set)"
		}
		out = append(out, value)
	}
	return out
}
