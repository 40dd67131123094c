package layer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// CollectAll collects without sparing what is young.
func (m *Maker) CollectAll(ctx context.Context, used map[remuda.OrganizationID][]remuda.LayerID) error {
	return m.collect(ctx, used, time.Now().Add(time.Hour))
}

// Digest is the content's digest as it is kept.
func (m *Maker) Digest(org remuda.OrganizationID, id remuda.LayerID) (string, error) {
	content, err := os.ReadFile(filepath.Join(m.store.place(org, id), metaName))
	if err != nil {
		return "", err
	}
	var have meta
	err = json.Unmarshal(content, &have)
	return have.Digest, err
}

// Say runs a script as an installer runs.
func (m *Maker) Say(ctx context.Context, p Progress, script string) (err error) {
	s, err := m.open(ctx, "", nil, newWords(p))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	_, err = s.run(ctx, script, nil)
	return err
}

// Readers of foreign bytes.
var (
	ParseReport      = parseReport
	ParsePackageLock = parsePackageLock
	ParseFound       = parseFound
	ParseList        = func(s string) int { return len(parseList(s)) + len(parseDeb822(s)) }
	Diagnose         = diagnose
	LastWord         = lastWord
)

// Unpack unpacks a tar into a directory.
func Unpack(dir string, room int64, r io.Reader) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return (&unpacker{root: root, bytes: room}).unpack(r)
}
