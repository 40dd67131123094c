package executions

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestDueList: each thing is done once, not before its time, and not when it was taken
// back; the list goes on however often it was empty.
func TestDueList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &dueList{after: 10 * time.Millisecond}
		var order []int
		var mu sync.Mutex
		add := func(n int) *dueThing {
			return l.add(func() {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, n)
			})
		}
		want := func(what string, ns ...int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(order) != len(ns) {
				t.Fatalf("%s: done are %v, want %v", what, order, ns)
			}
			for i := range ns {
				if order[i] != ns[i] {
					t.Fatalf("%s: done are %v, want %v", what, order, ns)
				}
			}
		}
		add(1)
		time.Sleep(4 * time.Millisecond)
		second := add(2)
		add(3)
		time.Sleep(5 * time.Millisecond)
		want("before it is due")
		time.Sleep(time.Millisecond)
		want("the first is due", 1)
		second.takeBack()
		time.Sleep(4 * time.Millisecond)
		want("one was taken back", 1, 3)
		time.Sleep(time.Hour)
		add(4).takeBack()
		add(5)
		time.Sleep(10 * time.Millisecond)
		want("after a pause", 1, 3, 5)
		second.takeBack() // once more, and after the end: nothing
		if l.waiting != nil || l.armed {
			t.Errorf("an empty list keeps %d things, armed %t", len(l.waiting), l.armed)
		}
	})
}

// TestDueListInACrowd: of many that add and take back at once, what was not taken back
// is done, and nothing twice.
func TestDueListInACrowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &dueList{after: time.Millisecond}
		var done atomic.Int64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for n := range 500 {
					thing := l.add(func() { done.Add(1) })
					if n%2 == 0 {
						thing.takeBack()
					}
					if n%50 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		callers.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := done.Load(); n != 8*250 {
			t.Errorf("%d were done, want %d", n, 8*250)
		}
	})
}

// TestDueListEnds: the end waits for what is under way; nothing is done after it, and
// nothing is left that could.
func TestDueListEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &dueList{after: time.Millisecond}
		l.end() // of a list that was never used
		l = &dueList{after: time.Millisecond}
		goOn := make(chan struct{})
		var done, ended atomic.Bool
		l.add(func() {
			<-goOn
			done.Store(true)
		})
		time.Sleep(2 * time.Millisecond)
		l.add(func() { t.Error("what was not due when the list ended was done") })
		synctest.Wait()
		go func() {
			l.end()
			ended.Store(true)
		}()
		synctest.Wait()
		if done.Load() || ended.Load() {
			t.Fatalf("done %t, ended %t before the one that is under way goes on", done.Load(), ended.Load())
		}
		close(goOn)
		synctest.Wait()
		if !done.Load() || !ended.Load() {
			t.Errorf("done %t, ended %t after it went on", done.Load(), ended.Load())
		}
		l.add(func() { t.Error("what came after the end was done") }).takeBack()
		l.add(func() { t.Error("what came after the end was done") })
		time.Sleep(time.Hour)
	})
}
