package layer

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// aptSource is one archive of the machine's apt with one of its suites.
type aptSource struct {
	uri        *url.URL
	suites     string
	components string
	signedBy   string // the key itself, or ""
	trusted    bool
}

// maxSources bounds the archives.
const maxSources = 64

// readSources reads the archives that apt on this machine installs from. Kinds
// that a gateway cannot lead to, such as CD-ROMs, are left out.
func readSources(dir string) ([]aptSource, error) {
	if dir == "" {
		dir = "/etc/apt"
	}
	files := []string{filepath.Join(dir, "sources.list")}
	more, err := filepath.Glob(filepath.Join(escapeGlob(dir), "sources.list.d", "*"))
	if err != nil {
		return nil, fmt.Errorf("look for the sources of apt: %w", err)
	}
	slices.Sort(more)
	var sources []aptSource
	for _, file := range append(files, more...) {
		content, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read a source of apt: %w", err)
		}
		switch filepath.Ext(file) {
		case ".list":
			sources = append(sources, parseList(string(content))...)
		case ".sources":
			sources = append(sources, parseDeb822(string(content))...)
		}
	}
	if len(sources) > maxSources {
		return nil, remuda.Errorf(remuda.CodeInvalid, "%s names %d archives; %d are possible", dir, len(sources), maxSources)
	}
	for n := range sources {
		if err := sources[n].readKey(); err != nil {
			return nil, err
		}
	}
	return sources, nil
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// parseList reads the one-line form: deb [options] uri suite component...
func parseList(content string) []aptSource {
	var sources []aptSource
	lines := bufio.NewScanner(strings.NewReader(content))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		options := ""
		if rest = strings.TrimSpace(rest); strings.HasPrefix(rest, "[") {
			if options, rest, ok = strings.Cut(rest[1:], "]"); !ok {
				continue
			}
		}
		words := strings.Fields(rest)
		if len(words) < 2 {
			continue
		}
		s := aptSource{suites: words[1], components: strings.Join(words[2:], " ")}
		for option := range strings.FieldsSeq(options) {
			name, value, _ := strings.Cut(option, "=")
			switch strings.ToLower(name) {
			case "signed-by":
				s.signedBy = value
			case "trusted":
				s.trusted = value == "yes"
			}
		}
		sources = addSource(sources, s, words[0])
	}
	return sources
}

// parseDeb822 reads the form of fields.
func parseDeb822(content string) []aptSource {
	var sources []aptSource
	for stanza := range strings.SplitSeq(strings.ReplaceAll(content, "\r", ""), "\n\n") {
		fields := deb822Fields(stanza)
		if !slices.Contains(strings.Fields(fields["types"]), "deb") || strings.EqualFold(strings.TrimSpace(fields["enabled"]), "no") {
			continue
		}
		for uri := range strings.FieldsSeq(fields["uris"]) {
			sources = addSource(sources, aptSource{
				suites: strings.Join(strings.Fields(fields["suites"]), " "), components: strings.Join(strings.Fields(fields["components"]), " "),
				signedBy: fields["signed-by"], trusted: strings.TrimSpace(fields["trusted"]) == "yes",
			}, uri)
		}
	}
	return sources
}

// deb822Fields are a stanza's fields by lower-case name. Lines of a value stay
// apart.
func deb822Fields(stanza string) map[string]string {
	fields := map[string]string{}
	last := ""
	for line := range strings.SplitSeq(stanza, "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
		case line != "" && (line[0] == ' ' || line[0] == '\t'):
			if last != "" {
				fields[last] += "\n" + line
			}
		default:
			name, value, ok := strings.Cut(line, ":")
			if ok {
				last = strings.ToLower(strings.TrimSpace(name))
				fields[last] = strings.TrimSpace(value)
			}
		}
	}
	return fields
}

// addSource adds one whose address is of the web.
func addSource(sources []aptSource, s aptSource, uri string) []aptSource {
	u, err := url.Parse(uri)
	plain := func(words string) bool { return !strings.ContainsAny(words, "\n\r$[]") }
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || s.suites == "" || !plain(s.suites) || !plain(s.components) {
		return sources
	}
	s.uri = u
	return append(sources, s)
}

// readKey replaces the path of a key by the key: builds do not see the machine's
// /etc.
func (s *aptSource) readKey() error {
	at := strings.TrimSpace(s.signedBy)
	if !filepath.IsAbs(at) {
		return nil // a key in the text, a fingerprint, or none
	}
	content, err := os.ReadFile(at)
	if err != nil {
		return fmt.Errorf("read a key of apt: %w", err)
	}
	s.signedBy = string(content)
	return nil
}
