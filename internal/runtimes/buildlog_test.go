package runtimes

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
)

// A log is kept whole as far as it fits; of a longer one the beginning and the end,
// with the number of bytes between them. Its records have no gaps and are bounded,
// however it came and whenever it was stored.
func TestLogIsBoundedAndInOrder(t *testing.T) {
	t.Parallel()
	st, err := store.Open(t.Context(), store.Options{Path: storetest.Fresh(t, filepath.Join(t.TempDir(), "remuda.db")), Durability: store.DurabilityProcess})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	rapid.Check(t, func(r *rapid.T) {
		b := remuda.Build{Key: remuda.GenerationKey{Runtime: remuda.NewRuntimeID(), Number: 1}, Status: remuda.RuntimeBusy, StartedAt: time.Now()}
		write := func(fn func(ctx context.Context, tx *store.Tx) error) {
			if err := st.Write(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
				r.Fatal(err)
			}
		}
		write(func(ctx context.Context, tx *store.Tx) error {
			return tx.InsertBuild(ctx, remuda.GlobalOrganization, b)
		})
		l := newBuildLog(st, remuda.GlobalOrganization, b, 0, 0)
		var said bytes.Buffer
		for range rapid.IntRange(0, 12).Draw(r, "pieces") {
			n := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, maxLogHead/4)).Draw(r, "bytes")
			piece := bytes.Repeat([]byte{byte('a' + said.Len()%26)}, n)
			said.Write(piece)
			l.Log(piece)
			if rapid.Bool().Draw(r, "flush") {
				if err := l.flush(t.Context()); err != nil {
					r.Fatal(err)
				}
			}
		}
		l.mu.Lock()
		l.close()
		l.mu.Unlock()
		if err := l.flush(t.Context()); err != nil {
			r.Fatal(err)
		}
		var kept []byte
		last := int64(0)
		err := st.Read(t.Context(), func(tx *store.Tx) error {
			for {
				records, err := tx.BuildLog(t.Context(), remuda.GlobalOrganization, b.Key, last, 1<<20)
				if err != nil || len(records) == 0 {
					return err
				}
				for _, rec := range records {
					if rec.Seq != last+1 || len(rec.Data) > maxLogRecord {
						r.Errorf("record %d of %d bytes after %d", rec.Seq, len(rec.Data), last)
					}
					last = rec.Seq
					kept = append(kept, rec.Data...)
				}
			}
		})
		if err != nil {
			r.Fatal(err)
		}
		whole := said.Bytes()
		if len(whole) <= maxLogHead+maxLogTail {
			if !bytes.Equal(kept, whole) {
				r.Errorf("of %d bytes %d are kept", len(whole), len(kept))
			}
			return
		}
		if !bytes.HasPrefix(kept, whole[:maxLogHead]) || !bytes.HasSuffix(kept, whole[len(whole)-maxLogTail:]) ||
			!bytes.Contains(kept, []byte("bytes are left out here]")) || len(kept) > maxLogHead+maxLogTail+100 {
			r.Errorf("of %d bytes %d are kept", len(whole), len(kept))
		}
	})
}

func TestNearestVersion(t *testing.T) {
	t.Parallel()
	known := interpreters("3.12.1", "3.11.4", "3.11.2", "3.9.1", "2.7.18")
	for _, c := range []struct {
		want   string
		policy remuda.VersionPolicy
		found  string
	}{
		{"", remuda.VersionExact, "3.12.1"},
		{"3", remuda.VersionExact, "3.12.1"},
		{"3.11", remuda.VersionExact, "3.11.4"},
		{"3.11.2", remuda.VersionExact, "3.11.2"},
		{"3.1", remuda.VersionExact, ""},
		{"3.10.5", remuda.VersionExact, ""},
		{"3.10.5", remuda.VersionCompatible, "3.11.4"},
		{"3.11.9", remuda.VersionCompatible, "3.11.4"},
		{"3.9", remuda.VersionCompatible, "3.9.1"},
		{"3.0", remuda.VersionCompatible, "3.9.1"},
		{"3.13", remuda.VersionCompatible, ""},
		{"2.7.3", remuda.VersionCompatible, "2.7.18"},
		{"4", remuda.VersionCompatible, ""},
		{"1.0", remuda.VersionCompatible, ""},
		{"three", remuda.VersionCompatible, ""},
		{"3.x", remuda.VersionCompatible, ""},
		{"-3.1", remuda.VersionCompatible, ""},
		{"3.", remuda.VersionCompatible, ""},
		{"3.10.5\nx", remuda.VersionCompatible, ""},
		{"3.10.5\n", remuda.VersionCompatible, ""},
		{"3.10.\x1b[31m", remuda.VersionCompatible, ""},
		{"+3.1", remuda.VersionCompatible, ""},
		{"3.10.0rc1", remuda.VersionCompatible, "3.11.4"},
	} {
		if got, ok := ResolveVersion(c.want, c.policy, known); got.Version != c.found || ok != (c.found != "") {
			t.Errorf("%s (%s) is %q, want %q", c.want, c.policy, got.Version, c.found)
		}
	}
	if _, ok := ResolveVersion("", remuda.VersionCompatible, nil); ok {
		t.Error("something was found among nothing")
	}
}

// FuzzNearestVersion: whatever is asked for, what is found is known, and compatible.
func FuzzNearestVersion(f *testing.F) {
	f.Add("3.10.5", "3.11.2")
	f.Add("", "1")
	f.Add("9999999999999999999.1", "3.-1")
	f.Fuzz(func(t *testing.T, want, has string) {
		got, ok := ResolveVersion(want, remuda.VersionCompatible, interpreters(has))
		if ok && got.Version != has {
			t.Errorf("%q is %q, of %q", want, got.Version, has)
		}
	})
}

func interpreters(versions ...string) (list []engine.Interpreter) {
	for _, v := range versions {
		list = append(list, engine.Interpreter{Language: remuda.LanguagePython, Version: v})
	}
	return list
}
