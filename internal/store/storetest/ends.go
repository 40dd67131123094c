package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// newEnd is an end as executions have it, of one that is born with it.
func newEnd(org remuda.OrganizationID) *store.End {
	e := ended(newExecution(org))
	return &store.End{
		Execution: e, Output: []remuda.OutputRecord{{Seq: 1, Stream: remuda.StreamStdout, Data: []byte("one\xff"), At: now()}, {Seq: 2, Data: []byte("two")}},
		Audit: []remuda.AuditEntry{
			{Organization: org, User: "usr_1", Action: "execution.run", Object: string(e.ID), Outcome: remuda.OutcomeOK, At: now(), Details: map[string]string{"change": "submit"}},
			{Organization: org, User: "usr_1", Action: "execution.run", Object: string(e.ID), Outcome: remuda.OutcomeOK, At: now(), Details: map[string]string{"change": "end"}},
		},
	}
}

// wantEnd fails the test unless the end is in the tables, whole.
func (f *fixture) wantEnd(tx *store.Tx, e *store.End) error {
	f.t.Helper()
	ctx := f.t.Context()
	got, err := tx.Execution(ctx, f.org, e.Execution.ID)
	output, err2 := tx.Output(ctx, f.org, e.Execution.ID, 0, 0)
	log, _, err3 := tx.Audit(ctx, f.org, remuda.Page{Limit: 100})
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	same(f.t, got, e.Execution)
	same(f.t, output, e.Output)
	entries := 0
	for _, entry := range log {
		if entry.Object == string(e.Execution.ID) {
			entries++
		}
	}
	same(f.t, entries, len(e.Audit))
	return nil
}

// An end is in the tables for everybody who comes after it was acknowledged.
func testEnds(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	born := newEnd(f.org)
	born.Born, born.Audit = true, born.Audit[1:]
	start := born.Execution
	start.State, start.EndedAt, start.Value, start.ExitCode = remuda.ExecutionRunning, nil, nil, nil
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertExecution(ctx, start) })
	unborn, large := newEnd(f.org), newEnd(f.org)
	large.Output[1].Data = []byte(strings.Repeat("x", 1<<19))
	for _, e := range []*store.End{born, unborn, large} {
		if err := f.RecordEnd(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		f.read(func(_ context.Context, tx *store.Tx) error { return f.wantEnd(tx, e) })
	}
	next := newEnd(f.org)
	if err := f.RecordEnd(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	f.write(func(_ context.Context, tx *store.Tx) error { return f.wantEnd(tx, next) })
	if err := errors.Join(f.VerifyAudit(t.Context()), f.Check(t.Context())); err != nil {
		t.Error(err)
	}
}

// A write that waits while another one runs finds what was acknowledged meanwhile.
func testEndBetweenWrites(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	e := newEnd(f.org)
	recorded := make(chan error)
	var second *store.Pending
	first := f.Begin(func(*store.Tx) error {
		go func() { recorded <- f.RecordEnd(t.Context(), e) }()
		if err := <-recorded; err != nil {
			return err
		}
		// Queued while this one runs, it comes into the same transaction.
		second = f.Begin(func(tx *store.Tx) error { return f.wantEnd(tx, e) })
		return nil
	})
	if err := first.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Who reads of some executions waits for their ends, and for nobody else's.
func testEndsOfOthers(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	other := f.newOrganization()
	e := newEnd(f.org)
	writing, release := make(chan struct{}), make(chan struct{})
	busy := f.Begin(func(*store.Tx) error { // nothing can be moved to the tables meanwhile
		close(writing)
		<-release
		return nil
	})
	<-writing
	if err := f.RecordEnd(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]store.Ended{
		"none": {}, "of another organization": {Organization: other}, "another one": {Organization: f.org, Execution: "ex_other"},
		"the same id elsewhere": {Organization: other, Execution: e.Execution.ID},
	} {
		err := f.ReadOf(t.Context(), of, func(*store.Tx) error { return nil })
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	read := make(chan error, 2)
	var reading atomic.Int32
	for _, of := range []store.Ended{{Organization: f.org}, {Organization: f.org, Execution: e.Execution.ID}} {
		go func() {
			reading.Add(1)
			read <- f.ReadOf(t.Context(), of, func(tx *store.Tx) error { return f.wantEnd(tx, e) })
		}()
	}
	for reading.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-read:
		close(release)
		t.Fatalf("a reader did not wait for an end that it asked for: %v", err)
	default:
		close(release)
	}
	if err := errors.Join(busy.Wait(t.Context()), <-read, <-read); err != nil {
		t.Error(err)
	}
}

// What nobody reads or writes is in the tables after a while all the same.
func testEndsMove(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	e := newEnd(f.org)
	if err := f.RecordEnd(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	late := time.Now().Add(deadline)
	// Behind the store's back, because whoever asks the store has it moved.
	for b.Alter(t.Context(), f.location, onlyIf(string(e.Execution.ID))) != nil {
		if time.Now().After(late) {
			t.Fatal("it is not in the tables")
		}
		time.Sleep(time.Millisecond)
	}
}

// onlyIf is a statement that fails unless an execution is there.
func onlyIf(id string) string {
	return "INSERT INTO output_records (organization, execution, seq, stream, data) SELECT organization, id, 77, '', '' FROM executions WHERE id = '" + id +
		"' UNION ALL SELECT 'none', 'none', 1, NULL, '' WHERE NOT EXISTS (SELECT 1 FROM executions WHERE id = '" + id + "')"
}

// Many at once are all there, and those that cannot be are left out without harm.
func testManyEnds(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	const crowd, each = 8, 50
	ends := make([][]*store.End, crowd)
	var recording sync.WaitGroup
	for n := range crowd {
		recording.Go(func() {
			for i := range each {
				e := newEnd(f.org)
				if i%10 == 0 {
					e.Output[0].Data = []byte(strings.Repeat("x", 40_000))
				}
				if err := f.RecordEnd(t.Context(), e); err != nil {
					t.Error(err)
					return
				}
				ends[n] = append(ends[n], e)
				stranger := newEnd("org_that_is_not_there")
				if n == 0 {
					stranger.Born = true
				}
				// Acknowledged or not: there is no place for it.
				_ = f.RecordEnd(t.Context(), stranger)
			}
		})
	}
	recording.Wait()
	f.read(func(ctx context.Context, tx *store.Tx) error {
		for n := range ends {
			if len(ends[n]) != each {
				t.Errorf("%d of %d ends", len(ends[n]), each)
			}
			for _, e := range ends[n] {
				got, err := tx.Execution(ctx, f.org, e.Execution.ID)
				if err != nil {
					return err
				}
				same(t, got, e.Execution)
			}
		}
		return nil
	})
	if err := f.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
}

// What the journal holds when a store is opened is what was put in, field by field.
func testEndForm(in subject) {
	t, b := in.t, in.b
	e := &store.End{}
	fill(t, reflect.ValueOf(e).Elem(), "end")
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	again := &store.End{}
	if err := json.Unmarshal(raw, again); err != nil {
		t.Fatal(err)
	}
	same(t, *again, *e)

	// As the first version wrote it. Never change it: journals hold it.
	old := &store.End{}
	if err := json.Unmarshal([]byte(oldEnd), old); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, b)
	old.Execution.Organization, old.Audit[0].Organization = f.org, f.org
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.RecordEnd(ctx, old) })
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Execution(ctx, f.org, "ex_1")
		at := time.UnixMicro(1767225600000001).UTC()
		code := 3
		same(t, got, remuda.Execution{
			ID: "ex_1", Organization: f.org, Owner: "usr_1", Runtime: "rt_1", RuntimeName: "python", Runspace: "rs_1", Instance: "ins_1", Generation: 2,
			Fresh: true, Warm: true, Narrowed: []string{"cpu"}, ColdReason: "c", State: remuda.ExecutionError, ExitCode: &code,
			Value: &remuda.Value{JSON: []byte(`[1]`), Text: "[1]"}, Error: &remuda.ScriptError{Type: "T", Message: "m", Traceback: "t"},
			KilledBy: remuda.KilledByMemory, Reason: "r", Usage: remuda.Usage{CPU: time.Millisecond, Wall: 2 * time.Millisecond, PeakMemory: 5},
			Timings: remuda.Timings{"run": time.Millisecond}, OutputBytes: 1, OutputCut: 2, CreatedAt: at, StartedAt: &at, EndedAt: &at, Name: "n", System: true, Objects: true,
		})
		output, err2 := tx.Output(ctx, f.org, "ex_1", 0, 0)
		same(t, output, []remuda.OutputRecord{{Seq: 1, Stream: remuda.StreamStdout, Data: []byte("a"), At: at}})
		return errors.Join(err, err2)
	})
}

const oldEnd = `{"Execution":{"ID":"ex_1","Organization":"org_1","Owner":"usr_1","Runtime":"rt_1","RuntimeName":"python","Runspace":"rs_1",` +
	`"Instance":"ins_1","Generation":2,"Fresh":true,"Warm":true,"Narrowed":["cpu"],"ColdReason":"c","State":"error","ExitCode":3,` +
	`"Value":{"json":[1],"text":"[1]"},"Error":{"type":"T","message":"m","traceback":"t"},"KilledBy":"memory","Reason":"r",` +
	`"Usage":{"CPU":1000000,"Wall":2000000,"PeakMemory":5},"Timings":{"run":1000000},"OutputBytes":1,"OutputCut":2,` +
	`"CreatedAt":"2026-01-01T00:00:00.000001Z","StartedAt":"2026-01-01T00:00:00.000001Z","EndedAt":"2026-01-01T00:00:00.000001Z",` +
	`"Name":"n","System":true,"Objects":true},"Born":false,"Output":[{"Seq":1,"Stream":"stdout","Data":"YQ==","At":"2026-01-01T00:00:00.000001Z"}],` +
	`"Audit":[{"Organization":"org_1","User":"usr_1","Action":"execution.run","Object":"ex_1","Outcome":"ok","RequestID":"req","At":"2026-01-01T00:00:00.000001Z","Details":{"change":"end"},"Seq":0,"Hash":""}]}`

// fill gives every field a value that it has not by itself.
func fill(t *testing.T, v reflect.Value, name string) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(now()))
		return
	case json.RawMessage:
		v.SetBytes([]byte(`{"a":[1]}`))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), name)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0), name)
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(t, value, name)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), value)
	case reflect.String:
		v.SetString(name)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(len(name)))
	case reflect.Uint8:
		v.SetUint(0xff)
	default:
		t.Fatalf("%s is a %s: say here how it is filled", name, v.Kind())
	}
	if v.IsZero() {
		t.Fatal(fmt.Errorf("%s was not filled", name))
	}
}
