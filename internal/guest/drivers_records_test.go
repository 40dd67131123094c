package guest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/channel"
	"github.com/remuda-run/remuda/internal/remuda"
)

// tell runs a script and returns its records: "kind data" each.
func (w *wire) tell(r channel.Run) (records []string, d *channel.Done) {
	w.t.Helper()
	if _, err := w.f.Write(r.Append(nil)); err != nil {
		w.t.Fatal(err)
	}
	for {
		typ, p := w.next()
		if typ == channel.TypeRecord {
			rec, err := channel.ParseRecord(p)
			if err != nil {
				w.t.Fatal(err)
			}
			records = append(records, string(rune('0'+rec.Kind))+" "+string(rec.Data))
			continue
		}
		d, err := channel.ParseDone(p)
		if typ != channel.TypeDone || err != nil {
			w.t.Fatalf("frame %d, %v", typ, err)
		}
		return records, d
	}
}

// The parts of drivers that only runs with extras use, in every interpreter that can
// be had: they lean on inner things of logging, warnings and console.
func TestRecordsInEveryInterpreter(t *testing.T) {
	t.Parallel()
	type try struct {
		run  channel.Run
		want []string
		json string
	}
	both := channel.Extras{Streams: true, Objects: true}
	tries := map[remuda.Language][]try{
		remuda.LanguagePython: {
			{channel.Run{Source: "1", Extras: channel.Extras{Streams: true}}, nil, "1"},
			{channel.Run{Source: "import logging\nlogging.debug('d')\nlogging.log(15, 'v')\nlogging.info('i')\nlogging.warning('w')\nlogging.error('e')", Extras: both}, []string{"6 d", "7 v", "3 i", "4 w", "5 e"}, ""},
			{channel.Run{Source: "import warnings\nwarnings.warn('careful')\nlogging.getLogger('x').info('named')", Extras: both}, []string{"4 UserWarning: careful", "3 named"}, ""},
			{channel.Run{Source: "with warnings.catch_warnings(record=True) as w:\n  warnings.simplefilter('always')\n  warnings.warn('kept')\nlen(w)", Extras: channel.Extras{Streams: true}}, nil, "1"},
			{channel.Run{Source: "logging.basicConfig(level=30, stream=open('/dev/null', 'w'))\nlogging.info('no')\nlogging.error('yes')", Extras: both}, []string{"5 yes"}, ""},
			{channel.Run{Source: "[logging.Logger.callHandlers.__module__, logging.Logger.isEnabledFor.__module__, type(logging.lastResort).__name__, warnings._showwarnmsg_impl.__name__]"}, nil, `["logging","logging","_StderrHandler","_showwarnmsg_impl"]`},
			{channel.Run{Source: "from datetime import *\n[1, datetime(2026, 1, 1)]", Extras: both}, []string{`8 {"TypeName":"builtins.int","Interfaces":[],"Value":1}`, `8 {"TypeName":"datetime.datetime","Interfaces":["datetime.date"],"Value":"2026-01-01T00:00:00Z"}`}, ""},
			{channel.Run{Source: "secret", Parameters: []channel.Pair{{Name: "secret", Value: `"abc"`}}, Extras: channel.Extras{Scratch: []string{"secret"}}}, nil, `"abc"`},
			{channel.Run{Source: "'secret' in globals()"}, nil, "false"},
			{channel.Run{Source: "[7]", Extras: channel.Extras{Assign: "n"}}, nil, ""},
			{channel.Run{Source: "n"}, nil, "[7]"},
		},
		remuda.LanguageNode: {
			{channel.Run{Source: "console.debug('d'); console.info('i'); console.warn('w'); console.error('e'); 1", Extras: both}, []string{"6 d", "3 i", "4 w", "5 e", `8 {"TypeName":"Number","Interfaces":[],"Value":1}`}, "1"},
			{channel.Run{Source: "await null; console.info('i')", Extras: both}, []string{"3 i"}, ""},
			{channel.Run{Source: "[7]", Extras: channel.Extras{Assign: "n", Scratch: []string{"p"}}}, nil, ""},
			{channel.Run{Source: "n"}, nil, "[7]"},
		},
	}
	for interpreter, language := range interpreters() {
		t.Run(interpreter, func(t *testing.T) {
			t.Parallel()
			w := startDriver(t, language, interpreter)
			for _, try := range tries[language] {
				got, d := w.tell(try.run)
				if !slices.Equal(got, try.want) || string(d.JSON) != try.json || !d.OK {
					t.Errorf("%q tells %q and %s, want %q and %s (%s)", try.run.Source, got, d.JSON, try.want, try.json, d.Traceback)
				}
			}
			_, d := w.tell(channel.Run{Source: "throw", Name: "x", Extras: both})
			if d.OK || strings.Contains(d.Traceback, "driver") {
				t.Errorf("a broken script ends as %+v", d)
			}
		})
	}
	if len(slices.Collect(maps.Keys(interpreters()))) < 2 {
		t.Error("there are no interpreters")
	}
}
