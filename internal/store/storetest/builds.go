package storetest

import (
	"context"
	"errors"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// newBuild is a build that goes on.
func newBuild(key remuda.GenerationKey) remuda.Build {
	return remuda.Build{
		Key: key, Status: remuda.RuntimeBusy, Version: "3.11.2", StartedAt: now(),
		Packages: []remuda.PackageStatus{
			{Package: remuda.Package{Name: "numpy", Version: "latest", Description: "d"}, State: remuda.PackageInstalling, Resolved: "2.3"},
			{Package: remuda.Package{Name: "jq", Manager: remuda.ManagerApt}, State: remuda.PackageNotInstalled, Message: "no such package"},
		},
	}
}

func testBuilds(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	rt := newRuntime(f.org)
	key := func(n int) remuda.GenerationKey { return remuda.GenerationKey{Runtime: rt.ID, Number: n} }
	first, second, third := newBuild(key(1)), newBuild(key(2)), newBuild(key(3))
	records := []remuda.OutputRecord{{Seq: 1, Stream: remuda.StreamStdout, Data: []byte("one\n")}, {Seq: 2, Stream: remuda.StreamStderr, Data: []byte{0xff}}, {Seq: 3, Stream: remuda.StreamStdout, Data: []byte{}}}
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertRuntime(ctx, rt), tx.InsertBuild(ctx, f.org, first), tx.InsertBuild(ctx, f.org, second), tx.InsertBuild(ctx, f.org, third),
			tx.AppendBuildLog(ctx, f.org, key(1), records))
	})
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.InsertBuild(ctx, f.org, first) }), remuda.CodeConflict)
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
		return tx.AppendBuildLog(ctx, f.org, key(1), records[:1])
	}), remuda.CodeConflict)
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
		return tx.AppendBuildLog(ctx, f.org, key(9), records[:1])
	}), remuda.CodeNotFound)

	first.Status, first.EndedAt, first.Layer = remuda.RuntimeReady, now(), "0a"
	first.Lock = remuda.Lock{Language: remuda.LanguagePython, Version: "3.11.2", Environment: remuda.EnvironmentHost, Packages: []remuda.Locked{
		{Manager: remuda.ManagerPip, Name: "numpy", Version: "2.3", Hashes: []string{"sha256:1", "sha256:2"}, Asked: true},
		{Manager: remuda.ManagerPip, Name: "wheel", Version: "1", Build: true},
	}}
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.UpdateBuild(ctx, f.org, first), tx.CopyBuildLog(ctx, f.org, rt.ID, 1, 2))
	})
	late := first
	late.Status = remuda.RuntimeError
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateBuild(ctx, f.org, late) }), remuda.CodeConflict)
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.CopyBuildLog(ctx, f.org, rt.ID, 1, 2) }), remuda.CodeConflict)
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Build(ctx, f.org, key(1))
		same(t, got, first)
		list, next, err2 := tx.Builds(ctx, f.org, rt.ID, remuda.Page{Limit: 2})
		same(t, list, []remuda.Build{third, second})
		rest, end, err3 := tx.Builds(ctx, f.org, rt.ID, remuda.Page{Limit: 2, Cursor: next})
		same(t, rest, []remuda.Build{first})
		same(t, end, "")
		some, err4 := tx.BuildLog(ctx, f.org, key(1), 0, 5)
		same(t, some, records)
		one, err5 := tx.BuildLog(ctx, f.org, key(2), 1, 0)
		same(t, one, records[1:2])
		last, size, err6 := tx.BuildLogEnd(ctx, f.org, key(2))
		same(t, []int64{last, size}, []int64{3, 5})
		none, _, err7 := tx.BuildLogEnd(ctx, f.org, key(3))
		same(t, none, int64(0))
		return errors.Join(err, err2, err3, err4, err5, err6, err7)
	})
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.PruneBuildLogs(ctx, f.org, rt.ID, 2) })
	f.read(func(ctx context.Context, tx *store.Tx) error {
		gone, err := tx.BuildLog(ctx, f.org, key(1), 0, 5)
		same(t, len(gone), 0)
		kept, err2 := tx.BuildLog(ctx, f.org, key(2), 0, 5)
		same(t, kept, records)
		return errors.Join(err, err2)
	})
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteRuntime(ctx, f.org, rt.ID) })
	wantCode(t, f.tryRead(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Build(ctx, f.org, key(2))
		return err
	}), remuda.CodeNotFound)
}
