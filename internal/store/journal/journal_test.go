package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// opened opens a journal of texts.
func opened(t *testing.T, path string, forgotten uint64) *Journal[string] {
	t.Helper()
	j, err := Open(options(path, forgotten))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() }) // most tests have closed it
	return j
}

func options(path string, forgotten uint64) Options[string] {
	return Options[string]{
		Path: path, Owner: "the tests", Forgotten: forgotten,
		Decode: func(payload []byte) (string, error) {
			if string(payload) == "foreign" {
				return "", errors.New("not one of ours")
			}
			return string(payload), nil
		},
	}
}

func add(t *testing.T, j *Journal[string], texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := j.Append([]byte(text), text); err != nil {
			t.Fatalf("append %.20q: %v", text, err)
		}
	}
}

func values(j *Journal[string]) (list []string) {
	for _, e := range j.Kept() {
		list = append(list, e.Value)
	}
	return list
}

func wantKept(t *testing.T, j *Journal[string], want ...string) {
	t.Helper()
	if got := values(j); !slices.Equal(got, want) {
		t.Errorf("the journal holds %.200q, want %.200q", got, want)
	}
	if j.Len() != len(want) {
		t.Errorf("Len is %d, want %d", j.Len(), len(want))
	}
}

func TestWhatIsNotForgottenIsThereAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	lasting := options(path, 0)
	lasting.Lasting = true
	j, err := Open(lasting)
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, "one", "", "three")
	wantKept(t, j, "one", "", "three")
	first := j.Kept()[0].Number
	j.Forget(first)
	wantKept(t, j, "", "three")
	if err := errors.Join(j.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(nil, ""); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed journal: %v", err)
	}

	j = opened(t, path, first)
	wantKept(t, j, "", "three")
	add(t, j, "four")
	wantKept(t, j, "", "three", "four")
	numbers := j.Kept()
	if !slices.IsSortedFunc(numbers, func(a, b Entry[string]) int { return int(a.Number) - int(b.Number) }) || numbers[0].Number <= first {
		t.Errorf("numbers %v after %d", numbers, first)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Size() != fileSize {
		t.Errorf("%v, %v: it may hold what scripts print", info, err)
	}
}

// A journal that is used for long, and forgets now and then, holds at each moment what
// was acknowledged and not forgotten, however it ends.
func TestAnyHistory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			path := filepath.Join(t.TempDir(), "journal")
			forgotten, want := uint64(0), []string(nil)
			j := opened(t, path, 0)
			refused := 0
			for step := range 2000 {
				switch n := rnd.IntN(100); {
				case n < 90:
					text := fmt.Sprint(step, " ", strings.Repeat("x", rnd.IntN(1<<rnd.IntN(15))))
					switch err := j.Append([]byte(text), text); {
					case err == nil:
						want = append(want, text)
					case errors.Is(err, ErrFull):
						refused++
					default:
						t.Fatal(err)
					}
				case n < 98:
					if kept := j.Kept(); len(kept) > 0 {
						some := 1 + rnd.IntN(len(kept))
						forgotten = kept[some-1].Number
						j.Forget(forgotten)
						want = want[some:]
					}
				default: // the process is killed; what it was writing is there in part
					tear(t, path, j, rnd)
					j = opened(t, path, forgotten)
				}
				if got := values(j); !slices.Equal(got, want) {
					t.Fatalf("step %d: %d records, want %d", step, len(got), len(want))
				}
			}
			t.Logf("%d kept at the end, %d refused", len(want), refused)
		})
	}
}

// tear leaves the file as a process does that is killed while it appends.
func tear(t *testing.T, path string, j *Journal[string], rnd *rand.Rand) {
	t.Helper()
	j.writing.Lock()
	j.mu.Lock()
	offset, err := j.place(frameHeader + 100)
	number := j.number + 1
	j.mu.Unlock()
	j.writing.Unlock()
	if err != nil {
		return // it would have been refused
	}
	frame := appendFrame(nil, number, bytes.Repeat([]byte("torn"), 25))
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(frame[:rnd.IntN(len(frame))], offset); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

// A loss of power may leave the end of a batch without its beginning. Nothing of it was
// acknowledged, and nothing of it comes up behind what is written in its place.
func TestBatchWithoutItsBeginning(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, 0)
	add(t, j, "one", "two", "lost")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(make([]byte, frameHeader), headerSize+frameHeader+int64(len("one")))
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	j = opened(t, path, 0)
	wantKept(t, j, "one")
	add(t, j, "TWO")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wantKept(t, opened(t, path, 0), "one", "TWO")
}

func TestFull(t *testing.T) {
	t.Parallel()
	j := opened(t, filepath.Join(t.TempDir(), "journal"), 0)
	big := strings.Repeat("x", MaxRecord)
	if err := j.Append([]byte(big+"x"), ""); !errors.Is(err, ErrTooBig) {
		t.Errorf("a record that is too big: %v", err)
	}
	n := 0
	for ; n < 1000; n++ {
		if err := j.Append([]byte(big), big); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if n < halfSize/MaxRecord || j.Len() != n {
		t.Fatalf("full after %d records; %d are kept", n, j.Len())
	}
	j.Forget(j.Kept()[n-1].Number)
	add(t, j, big)
	wantKept(t, j, big)
}

// What comes while a batch is on its way to the file shares the next one, in order.
func TestTogether(t *testing.T) {
	t.Parallel()
	j := opened(t, filepath.Join(t.TempDir(), "journal"), 0)
	j.writing.Lock() // one is on its way
	const crowd = 50
	var waiting sync.WaitGroup
	for n := range crowd {
		waiting.Go(func() { add(t, j, fmt.Sprint(n)) })
	}
	gathered := func() int {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.gathering == nil {
			return 0
		}
		return len(j.gathering.values)
	}
	for late := time.Now().Add(time.Minute); gathered() < crowd; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%d of %d are in one batch", gathered(), crowd)
		}
	}
	wantKept(t, j)
	j.writing.Unlock()
	waiting.Wait()
	if j.Len() != crowd {
		t.Errorf("%d of %d are kept", j.Len(), crowd)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, 0)
	const crowd, each = 8, 200
	done := make(chan struct{})
	var count int
	var appending sync.WaitGroup
	for n := range crowd {
		appending.Go(func() {
			for i := range each {
				text := fmt.Sprint(n, " ", i)
				for {
					err := j.Append([]byte(text), text)
					if err == nil {
						break
					}
					if !errors.Is(err, ErrFull) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	go func() { defer close(done); appending.Wait() }()
	next := map[string]int{}
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Millisecond):
		}
		kept := j.Kept()
		for _, e := range kept {
			var n string
			var i int
			if _, err := fmt.Sscan(e.Value, &n, &i); err != nil || next[n] != i {
				t.Fatalf("%q came when %d was due: %v", e.Value, next[n], err)
			}
			next[n]++
			count++
		}
		if len(kept) > 0 {
			j.Forget(kept[len(kept)-1].Number)
		}
	}
	if count != crowd*each {
		t.Errorf("%d of %d records came", count, crowd*each)
	}
}

// A record that the disk did not take is refused, and is not among those that it did.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, 0)
	add(t, j, "before")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	good := j.file
	j.file = full
	if err := j.Append([]byte("lost"), "lost"); err == nil {
		t.Fatal("a full disk has taken a record")
	}
	j.file = good
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
	add(t, j, "after")
	wantKept(t, j, "before", "after")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wantKept(t, opened(t, path, 0), "before", "after")
}

func TestFilesOfOthers(t *testing.T) {
	t.Parallel()
	written := func(t *testing.T) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "journal")
		j := opened(t, path, 0)
		add(t, j, "one", "two")
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	begunAnew := func(t *testing.T, path string) {
		t.Helper()
		j := opened(t, path, 7)
		wantKept(t, j)
		add(t, j, "mine")
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		wantKept(t, opened(t, path, 7), "mine")
	}
	t.Run("another owner", func(t *testing.T) {
		t.Parallel()
		path := written(t)
		o := options(path, 0)
		o.Owner = "somebody else"
		j, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		wantKept(t, j)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		begunAnew(t, path)
	})
	for name, content := range map[string]string{"nothing": "", "no journal": "SQLite format 3\x00", "cut off while it was made": magic[:len(magicName)]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "journal")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			begunAnew(t, path)
		})
	}
	t.Run("a form of later", func(t *testing.T) {
		t.Parallel()
		path := written(t)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content[len(magicName)] = '2'
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(options(path, 0)); err == nil || !strings.Contains(err.Error(), "start the program that has written it") {
			t.Errorf("got %v", err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, content) {
			t.Errorf("the file was changed: %v", err)
		}
	})
	t.Run("shortened", func(t *testing.T) {
		t.Parallel()
		path := written(t)
		if err := os.Truncate(path, headerSize+frameHeader+3); err != nil {
			t.Fatal(err)
		}
		wantKept(t, opened(t, path, 0), "one")
		if info, err := os.Stat(path); err != nil || info.Size() != fileSize {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("a record that means nothing", func(t *testing.T) {
		t.Parallel()
		path := written(t)
		j := opened(t, path, 0)
		add(t, j, "foreign")
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(options(path, 0)); err == nil || !strings.Contains(err.Error(), fmt.Sprint("decode record ", 3+unread)) {
			t.Errorf("got %v", err)
		}
	})
}

// Whatever bytes a half holds, what is read of it is what appending would write.
func FuzzScan(f *testing.F) {
	whole := appendFrame(appendFrame(nil, 3, []byte("three")), 9, nil)
	f.Add([]byte(nil))
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(appendFrame(slices.Clone(whole), 9, []byte("not above the one before")))
	f.Fuzz(func(t *testing.T, half []byte) {
		records, size := scan(half)
		var again []byte
		last := uint64(0)
		for _, r := range records {
			if r.number <= last || len(r.payload) > MaxRecord {
				t.Fatalf("record %d of %d bytes after %d", r.number, len(r.payload), last)
			}
			last = r.number
			again = appendFrame(again, r.number, r.payload)
		}
		if !bytes.Equal(again, half[:size]) {
			t.Fatalf("%d records are not the first %d bytes", len(records), size)
		}
	})
}
