package guestinit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

var kindNames = map[byte]string{3: "information", 4: "warning", 5: "error", 6: "debug", 7: "verbose", 8: "object"}

// told lists the whole records of a result: "kind: text" each.
func (r result) told() string {
	var lines []string
	for _, rec := range r.whole {
		lines = append(lines, kindNames[rec.Kind]+": "+string(rec.Data))
	}
	return strings.Join(lines, "\n")
}

func streams(text string) protocol.Execute { return protocol.Execute{Script: text, Streams: true} }

func objects(text string) protocol.Execute { return protocol.Execute{Script: text, Objects: true} }

// recordStep is a run, the records it makes, and what else there is of it.
type recordStep struct {
	run            protocol.Execute
	told           string
	stdout, stderr string // "..." before it: a part
	json, errText  string
}

func runRecords(t *testing.T, language remuda.Language, scenarios map[string][]recordStep) {
	t.Helper()
	for name, steps := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ready(t, language)
			for i, step := range steps {
				r := s.exec(step.run)
				at := fmt.Sprintf("step %d, %.60q", i, step.run.Script)
				if got := r.told(); got != step.told {
					t.Errorf("%s tells\n%s\nwant\n%s", at, got, step.told)
				}
				same(t, at+": stdout", r.stdout, step.stdout)
				same(t, at+": stderr", r.stderr, step.stderr)
				if string(r.ValueJSON) != step.json {
					t.Errorf("%s: value %s, want %s", at, r.ValueJSON, step.json)
				}
				if state := map[bool]string{true: "success", false: "error"}[step.errText == ""]; r.State != state || !strings.Contains(r.ErrText, step.errText) {
					t.Errorf("%s: ended as %s with %s %q (%s), want %s with %q", at, r.State, r.ErrType, r.ErrText, r.Reason, state, step.errText)
				}
				if r.KilledBy != "" || r.Dead {
					t.Fatalf("%s: killed by %q: %s", at, r.KilledBy, r.Reason)
				}
			}
		})
	}
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if part, ok := strings.CutPrefix(want, "..."); ok && strings.Contains(got, part) {
		return
	}
	if got != want {
		t.Errorf("%s is %q, want %q", what, got, want)
	}
}

// TestRecordsAndTheLimit has records of all kinds share one limit, half of which is
// all that is kept of what is said for debugging.
func TestRecordsAndTheLimit(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	run := func(text string, limit int64) result {
		t.Helper()
		return s.exec(protocol.Execute{Script: text, Streams: true, Objects: true, OutputLimit: limit})
	}
	r := run("import logging\nfor i in range(50): logging.debug('x' * 936)\nfor i in range(3): logging.info('y' * 936)", 20_000)
	count := map[byte]int{}
	for _, rec := range r.whole {
		count[rec.Kind]++
	}
	if count[protocol.StreamDebug] != 10 || count[protocol.StreamInformation] != 3 || r.OutputCut != 40_000 || r.State != "success" {
		t.Errorf("%v, %d cut, %s", count, r.OutputCut, r.State)
	}
	r = run("logging.info('x' * 400)\nlogging.info('x' * 5000)\nlogging.info('y')\nprint('z')\n7", 1000)
	if r.told() != "information: "+strings.Repeat("x", 400) || r.OutputCut == 0 {
		t.Errorf("after what did not fit comes %.80q", r.told())
	}
	if len(r.seqs) != int(r.LastSeq) {
		t.Errorf("%d records up to number %d", len(r.seqs), r.LastSeq)
	}
}

// TestRecordsWithoutAServer has a script say more than is held while nobody listens:
// it waits, and nothing is lost.
func TestRecordsWithoutAServer(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython, func(s *protocol.Setup) { s.LingerMS = 60_000 })
	s.acks = false
	const n = 600
	id := remuda.NewID("ex")
	s.send(protocol.TypeExecute, protocol.Execute{ID: id, Streams: true, OutputLimit: 1 << 30, Script: fmt.Sprintf("import logging\nfor i in range(%d): logging.info('%%05d' %% i + 'x' * 10000)", n)})
	var last int64
	for count := 0; count < 20; {
		typ, p, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if typ == protocol.TypeOutput {
			last, _, _, _ = protocol.ParseOutput(p)
			count++
		}
	}
	_ = s.conn.Close()
	again := s.connect()
	state := expect[protocol.State](again, protocol.TypeState)
	if state.Execution != id || state.NextSeq != 1 || last != 20 {
		t.Fatalf("%+v after %d records", state, last)
	}
	r := again.collect(id)
	if len(r.whole) != n || r.State != "success" {
		t.Fatalf("%d messages, %s", len(r.whole), r.State)
	}
	for i, rec := range r.whole {
		if len(rec.Data) != 10_005 || !strings.HasPrefix(string(rec.Data), fmt.Sprintf("%05d", i)) {
			t.Fatalf("message %d is %.20q of %d bytes", i, rec.Data, len(rec.Data))
		}
	}
}

// TestScriptTakesAwayWhatStreamsNeed has nothing end a driver but its own channel.
func TestScriptTakesAwayWhatStreamsNeed(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"modules":    "import sys, logging, warnings\nfor n in list(sys.modules):\n    if n in ('logging', 'warnings'): del sys.modules[n]",
		"meta_path":  "import sys\nsys.meta_path = None",
		"attributes": "import logging, warnings\ndel logging.Logger.callHandlers, logging.Logger.isEnabledFor, logging.lastResort, logging.root, warnings._showwarnmsg_impl",
		"level":      "import logging\nlogging.root.level = 'x'",
		"threads":    "import threading, logging, time\ndef w():\n    while True: logging.info('x' * 9000)\n[threading.Thread(target=w, daemon=True).start() for _ in range(4)]\ntime.sleep(.1)",
		"signals":    "import signal, logging\nsignal.signal(signal.SIGALRM, lambda *a: logging.info('alarm'))\nsignal.setitimer(signal.ITIMER_REAL, .0005, .0005)\nfor i in range(3000): logging.info('x' * 3000)\nsignal.setitimer(signal.ITIMER_REAL, 0)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ready(t, remuda.LanguagePython)
			if r := s.exec(protocol.Execute{Script: text, Streams: true, OutputLimit: 1 << 30}); r.State != "success" || r.Dead {
				t.Fatalf("ended as %s, dead %v: %s %s", r.State, r.Dead, r.ErrText, r.Reason)
			}
			if r := s.exec(script("6 * 7")); string(r.ValueJSON) != "42" {
				t.Errorf("afterwards: %+v", r.End)
			}
		})
	}
	s := ready(t, remuda.LanguagePython)
	r := s.exec(protocol.Execute{Script: "import os, logging\nos.closerange(3, 2000)\nlogging.info('x')\nprint('fine')", Streams: true, KillOnTimeout: true})
	if r.stdout != "fine\n" || r.State != "success" || len(r.whole) != 0 {
		t.Errorf("without a channel: %s, %q, %s", r.State, r.stdout, r.told())
	}
}
