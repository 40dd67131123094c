package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// EnvPrefix begins every variable.
const EnvPrefix = "REMUDA_"

// Setting describes one field of Config.
type Setting struct {
	Key     string // of the file: "log_level"
	Env     string // "REMUDA_LOG_LEVEL"
	Flag    string // "log-level"; "" when it cannot be a flag
	Group   Group
	Kind    string // "text", "number", "yes or no", "duration", "list"
	Help    string
	Secret  bool
	Default string

	index int
	typ   reflect.Type
}

// Settings lists every setting in the order of Config.
func Settings() []Setting {
	def := reflect.ValueOf(Default())
	var out []Setting
	for i := range def.NumField() {
		f := def.Type().Field(i)
		key := f.Tag.Get("koanf")
		s := Setting{
			Key: key, Env: EnvPrefix + strings.ToUpper(key), Flag: strings.ReplaceAll(key, "_", "-"),
			Group: Group(f.Tag.Get("group")), Kind: kindOf(f.Type), Help: f.Tag.Get("help"),
			Secret: f.Tag.Get("secret") == "true", Default: text(def.Field(i)), index: i, typ: f.Type,
		}
		if f.Tag.Get("env") == "only" {
			s.Flag = ""
		}
		out = append(out, s)
	}
	return out
}

func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t.Kind() == reflect.Int:
		return "number"
	case t.Kind() == reflect.Bool:
		return "yes or no"
	case t.Kind() == reflect.Slice:
		return "list"
	default:
		return "text"
	}
}

// text renders a value as it could be written in a variable or flag.
func text(v reflect.Value) string {
	if list, ok := reflect.TypeAssert[[]string](v); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(v.Interface())
}

// Parse reads a value as it is written in the file, a variable or a flag. The
// error says what would be right.
func (s Setting) Parse(raw string) (any, error) {
	switch s.Kind {
	case "duration":
		d, err := time.ParseDuration(raw)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("%q is not a duration; write it like 30s, 5m or 1h30m", raw)
		}
		return d, nil
	case "number":
		n, err := strconv.Atoi(raw)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not a whole number of at least 0", raw)
		}
		return n, nil
	case "yes or no":
		b, err := strconv.ParseBool(raw)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", raw)
		}
		return b, nil
	case "list":
		var list []string
		for part := range strings.SplitSeq(raw, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list, nil
	default:
		return raw, nil
	}
}

// nearest returns the name in names that looks most like got, or "" when none
// is close enough to be what was meant.
func nearest(got string, names []string) string {
	best, bestDistance := "", len(got)/2+1
	for _, name := range names {
		if d := distance(strings.ToLower(got), strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
