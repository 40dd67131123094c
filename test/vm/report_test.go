package vm

import (
	"strings"
	"testing"
	"time"
)

func TestParseReport(t *testing.T) {
	t.Parallel()
	whole := []string{
		BeginLine("one"), "--- PASS: TestA (0.00s)", "    --- PASS: TestA/sub (0.00s)", "--- SKIP: TestB (0.00s)", "PASS", EndLine("one", 0, 1500*time.Millisecond),
		BeginLine("two"), "--- FAIL: TestC (0.00s)", EndLine("two", 1, time.Second),
		DoneLine(2),
	}
	got, err := ParseReport(whole)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Took != 1500*time.Millisecond || got[1].Status != 1 {
		t.Fatalf("parsed %+v", got)
	}
	if p, f, s := TestCounts(got[0].Output); p != 1 || f != 0 || s != 1 {
		t.Fatalf("counted %d passed, %d failed, %d skipped", p, f, s)
	}

	// A report that is cut after any line but its last is not accepted.
	for n := range whole {
		if _, err := ParseReport(whole[:n]); err == nil {
			t.Errorf("a report of %d of %d lines was accepted", n, len(whole))
		}
	}
}

func TestParseReportRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		lines []string
		want  string
	}{
		"output outside of a step": {[]string{"hello", DoneLine(0)}, "outside of any step"},
		"nested step":              {[]string{BeginLine("a"), BeginLine("b")}, "begins inside"},
		"end without begin":        {[]string{EndLine("a", 0, 0)}, "did not begin"},
		"end of another step":      {[]string{BeginLine("a"), EndLine("b", 0, 0)}, `where "a" runs`},
		"wrong count":              {[]string{BeginLine("a"), EndLine("a", 0, 0), DoneLine(2)}, "does not fit"},
		"done inside a step":       {[]string{BeginLine("a"), DoneLine(0)}, "does not fit"},
		"status that is no number": {[]string{BeginLine("a"), Mark + "end a status=x ms=1", DoneLine(1)}, "malformed status"},
		"time that is no number":   {[]string{BeginLine("a"), Mark + "end a status=0 ms=", DoneLine(1)}, "malformed time"},
		"missing field":            {[]string{BeginLine("a"), Mark + "end a status=0", DoneLine(1)}, "where"},
		"unknown mark":             {[]string{Mark + "pause"}, "unknown mark"},
		"text after the end":       {[]string{DoneLine(0), "more"}, "after the end marker"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseReport(c.lines)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got error %v, want one that says %q", err, c.want)
			}
		})
	}
}

// FuzzParseReport feeds it what a machine may write when it goes wrong.
func FuzzParseReport(f *testing.F) {
	f.Add(BeginLine("a") + "\nout\n" + EndLine("a", 0, time.Second) + "\n" + DoneLine(1))
	f.Add(Mark + "end \n")
	f.Fuzz(func(t *testing.T, text string) {
		outcomes, err := ParseReport(strings.Split(text, "\n"))
		if err == nil && !strings.Contains(text, DoneLine(len(outcomes))) {
			t.Fatalf("accepted a report without its end marker: %q", text)
		}
	})
}
