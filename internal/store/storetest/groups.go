package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

var errOwn = errors.New("the write's own error")

// Writes of one group fail and succeed independently.
func testGroup(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	existing := newExecution(f.org)
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertExecution(ctx, existing) })
	const callers, rounds = 32, 12
	type outcome struct {
		id   remuda.ExecutionID
		want remuda.Code
	}
	outcomes := make(chan outcome, callers*rounds)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for round := range rounds {
				e := newExecution(f.org)
				kind := (caller + round) % 5
				err := f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
					if err := tx.InsertExecution(ctx, e); err != nil {
						return err
					}
					switch kind {
					case 0:
						return errOwn
					case 1:
						return tx.InsertExecution(ctx, existing)
					case 2:
						panic("in a write")
					}
					return tx.AppendAudit(ctx, remuda.AuditEntry{Organization: f.org, Object: string(e.ID), At: now()})
				})
				want := map[int]remuda.Code{0: remuda.CodeInternal, 1: remuda.CodeConflict, 2: remuda.CodeInternal}[kind]
				if got := remuda.CodeOf(err); got != want {
					t.Errorf("kind %d: got %q (%v), want %q", kind, got, err, want)
				}
				if kind == 0 && !errors.Is(err, errOwn) {
					t.Errorf("the write's own error came back as %v", err)
				}
				outcomes <- outcome{e.ID, want}
			}
		})
	}
	wg.Wait()
	close(outcomes)
	f.read(func(ctx context.Context, tx *store.Tx) error {
		for o := range outcomes {
			_, err := tx.Execution(ctx, f.org, o.id)
			if got := remuda.CodeOf(err) == ""; got != (o.want == "") {
				t.Errorf("a write that ended with %q: stored is %v", o.want, got)
			}
		}
		return nil
	})
	if err := f.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
}

// A write that goes on after a database error is undone all the same.
func testIgnoredError(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	first, second := newExecution(f.org), newExecution(f.org)
	err := f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.InsertExecution(ctx, first); err != nil {
			return err
		}
		_ = tx.InsertExecution(ctx, first)
		if tx.InsertExecution(ctx, second) == nil {
			t.Error("a statement after a failed one was run")
		}
		return nil
	})
	wantCode(t, err, remuda.CodeConflict)
	f.read(func(ctx context.Context, tx *store.Tx) error {
		for _, e := range []remuda.Execution{first, second} {
			_, err := tx.Execution(ctx, f.org, e.ID)
			wantCode(t, err, remuda.CodeNotFound)
		}
		return nil
	})
	err = f.tryRead(func(ctx context.Context, tx *store.Tx) error { return tx.InsertExecution(ctx, first) })
	wantCode(t, err, remuda.CodeInternal)
	err = f.tryRead(func(ctx context.Context, tx *store.Tx) error {
		return tx.AppendAudit(ctx, remuda.AuditEntry{Organization: f.org})
	})
	wantCode(t, err, remuda.CodeInternal)
}

// Patient writes end alone, keep their order among others, and give way to them.
func testPatient(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	var order []int
	note := func(i int) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			order = append(order, i) // one write runs at a time
			return tx.AppendAudit(t.Context(), entryOf(f.org, "act"))
		}
	}
	if err := f.BeginPatiently(time.Millisecond, 32, note(0)).Wait(t.Context()); err != nil {
		t.Fatalf("alone: %v", err)
	}
	// Company that is enough, or a write that is not patient, ends a wait that would
	// take longer than the test.
	var pending []*store.Pending
	var want []int
	for i := range 100 {
		if i%17 == 5 {
			pending = append(pending, f.Begin(note(i)))
		} else {
			pending = append(pending, f.BeginPatiently(time.Hour, 4, note(i)))
		}
		want = append(want, i)
	}
	if err := f.Write(t.Context(), note(100)); err != nil {
		t.Fatal(err)
	}
	for _, p := range pending {
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	same(t, order, append([]int{0}, append(want, 100)...))
	// One that has more patience holds nobody up.
	slow, quick := f.BeginPatiently(time.Hour, 100, note(102)), f.BeginPatiently(time.Millisecond, 50, note(103))
	if err := quick.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := slow.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	slow, quick = f.BeginPatiently(time.Hour, 100, note(104)), f.BeginPatiently(time.Hour, 2, note(105))
	if err := quick.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := slow.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := f.BeginPatiently(time.Hour, 2, note(101))
	if err := f.Close(); err != nil { // waits for it
		t.Fatal(err)
	}
	if err := last.Wait(t.Context()); err != nil {
		t.Errorf("queued before the close: %v", err)
	}
}

// Begin runs writes in the order of its calls.
func testOrder(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	const n = 300
	var order []int
	e := newExecution(f.org)
	pending := []*store.Pending{f.Begin(func(tx *store.Tx) error { return tx.InsertExecution(t.Context(), e) })}
	for i := range n {
		pending = append(pending, f.Begin(func(tx *store.Tx) error {
			order = append(order, i) // the writer's goroutine only
			return tx.AppendOutput(t.Context(), f.org, e.ID, []remuda.OutputRecord{{Seq: int64(i + 1), Data: []byte{1}}})
		}))
	}
	for _, p := range pending {
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, got := range order {
		if got != i {
			t.Fatalf("write %d ran at place %d", got, i)
		}
	}
}

// A write that waits for its outcome must not overtake one that the same caller
// queued before it, however many others write.
func testOrderOfOne(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 40 {
				e := newExecution(f.org)
				f.Begin(func(tx *store.Tx) error { return tx.InsertExecution(context.Background(), e) })
				if err := f.Write(t.Context(), func(tx *store.Tx) error { return tx.UpdateExecution(context.Background(), e) }); err != nil {
					t.Errorf("the second write did not find what the first one wrote: %v", err)
					return
				}
			}
		})
	}
	callers.Wait()
}

// blockWriter holds the writer until release is called.
func (f *fixture) blockWriter() (blocked *store.Pending, release func()) {
	f.t.Helper()
	running, gate := make(chan struct{}), make(chan struct{})
	blocked = f.Begin(func(*store.Tx) error {
		close(running)
		<-gate
		return nil
	})
	<-running
	return blocked, sync.OnceFunc(func() { close(gate) })
}

// A write whose caller went away before it started never runs; one that started
// is waited for.
func testCanceled(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	blocked, release := f.blockWriter()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error)
	ran := false
	go func() {
		answer <- f.Write(ctx, func(*store.Tx) error {
			ran = true
			return nil
		})
	}()
	cancel()
	wantCode(t, <-answer, remuda.CodeCanceled)
	release()
	if err := blocked.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Begin(func(*store.Tx) error { return nil }).Wait(t.Context()); err != nil || ran {
		t.Fatalf("the canceled write ran: %v, %v", ran, err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	e := newExecution(f.org)
	err := f.Write(ctx, func(tx *store.Tx) error {
		cancel()
		return tx.InsertExecution(ctx, e)
	})
	if err != nil {
		t.Fatalf("a write that was canceled while it ran: %v", err)
	}
	f.read(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Execution(ctx, f.org, e.ID)
		return err
	})
	wantCode(t, f.Read(ctx, func(*store.Tx) error { return nil }), remuda.CodeCanceled)
}

// A read sees one state of the database, whatever is written meanwhile.
func testSnapshot(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	count := func(ctx context.Context, tx *store.Tx) int {
		list, _, err := tx.Executions(ctx, f.org, remuda.ExecutionFilter{}, remuda.Page{Limit: 200})
		if err != nil {
			t.Error(err)
		}
		return len(list)
	}
	f.read(func(ctx context.Context, tx *store.Tx) error {
		before := count(ctx, tx)
		f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertExecution(ctx, newExecution(f.org)) })
		if after := count(ctx, tx); after != before {
			t.Errorf("%d rows became %d within one snapshot", before, after)
		}
		return nil
	})
	f.read(func(ctx context.Context, tx *store.Tx) error {
		if n := count(ctx, tx); n != 1 {
			t.Errorf("%d rows after an acknowledged write", n)
		}
		return nil
	})
}

// Closing answers every queued write: it is durable or was refused.
func testClose(in subject) {
	t, b := in.t, in.b
	location := b.New(t)
	f := &fixture{Store: mustOpen(t, b, location), t: t, location: location}
	f.org = f.newOrganization()
	_, release := f.blockWriter()
	defer release()
	const n = 200
	executions := make([]remuda.Execution, n)
	answers := make([]error, n)
	var wg sync.WaitGroup
	started := make(chan struct{}, n)
	for i := range n {
		executions[i] = newExecution(f.org)
		wg.Go(func() {
			started <- struct{}{}
			answers[i] = f.Begin(func(tx *store.Tx) error { return tx.InsertExecution(context.Background(), executions[i]) }).Wait(context.Background())
		})
	}
	for range n / 2 {
		<-started
	}
	wg.Go(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	release()
	wg.Wait()
	wantCode(t, f.tryWrite(func(context.Context, *store.Tx) error { return nil }), remuda.CodeUnavailable)
	wantCode(t, f.tryRead(func(context.Context, *store.Tx) error { return nil }), remuda.CodeUnavailable)
	if err := f.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}

	again := mustOpen(t, b, location)
	defer func() { _ = again.Close() }()
	durable := 0
	for i, e := range executions {
		err := again.Read(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Execution(t.Context(), f.org, e.ID)
			return err
		})
		stored := err == nil
		if stored {
			durable++
		}
		if answers[i] != nil {
			wantCode(t, answers[i], remuda.CodeUnavailable)
		}
		if stored != (answers[i] == nil) {
			t.Errorf("a write that was answered with %v: stored is %v", answers[i], stored)
		}
	}
	t.Logf("%d of %d were queued before the close", durable, n)
}

// A database opens again with everything in it, and migrating it again changes
// nothing.
func testReopen(in subject) {
	t, b := in.t, in.b
	location := b.New(t)
	org := remuda.Organization{ID: remuda.NewOrganizationID(), Name: "kept", CreatedAt: now()}
	for round := range 3 {
		s := mustOpen(t, b, location)
		err := s.Write(t.Context(), func(tx *store.Tx) error {
			if round == 0 {
				return tx.InsertOrganization(t.Context(), org)
			}
			return tx.AppendAudit(t.Context(), remuda.AuditEntry{Organization: org.ID, Action: fmt.Sprint(round), At: now()})
		})
		err2 := s.Read(t.Context(), func(tx *store.Tx) error {
			got, err := tx.OrganizationByName(t.Context(), "kept")
			same(t, got, org)
			return err
		})
		if err := errors.Join(err, err2, s.VerifyAudit(t.Context()), s.Check(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func testPing(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	if err := f.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantCode(t, f.Ping(ctx), remuda.CodeCanceled)
}
