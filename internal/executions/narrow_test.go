package executions_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// TestNarrowing runs narrowed one-shots and looks at what is said of them, at
// once and from the store.
func TestNarrowing(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	h.runtime(t, remuda.Definition{
		Name: "warm", Language: remuda.LanguagePython, Pool: remuda.PoolBounds{MinCached: 2, MaxCached: 2},
		Egress: remuda.Egress{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
	})
	for name, c := range map[string]struct {
		req      remuda.ExecutionRequest
		warm     bool
		narrowed []string
		cold     string
	}{
		"as it is":   {warm: true},
		"processor":  {req: remuda.ExecutionRequest{Limits: remuda.Resources{CPU: 0.5}}, warm: true, narrowed: []string{"cpu"}},
		"no network": {req: remuda.ExecutionRequest{Egress: &remuda.Egress{}}, warm: true, narrowed: []string{"egress"}},
		"disk":       {req: remuda.ExecutionRequest{Limits: remuda.Resources{DiskMB: 8}}, narrowed: []string{"disk_mb"}, cold: "disk_mb"},
	} {
		until(t, "two instances are warm", func() bool {
			return slices.ContainsFunc(h.pool.Status(), func(s pool.Status) bool { return s.Ready == 2 })
		})
		c.req.Runtime, c.req.Script = "warm", "value 1"
		e := h.run(t, c.req)
		if e.State != remuda.ExecutionSuccess || !e.Fresh || e.Warm != c.warm || !slices.Equal(e.Narrowed, c.narrowed) || !strings.Contains(e.ColdReason, c.cold) || (c.cold == "") != (e.ColdReason == "") {
			t.Errorf("%s: %s, fresh %v, warm %v, narrowed %v, cold because %q", name, e.State, e.Fresh, e.Warm, e.Narrowed, e.ColdReason)
		}
		err := h.store.Read(t.Context(), func(tx *store.Tx) error {
			stored, err := tx.Execution(t.Context(), ours, e.ID)
			if d := cmp.Diff(e, stored); d != "" {
				t.Errorf("%s: the store has another one (-told +stored):\n%s", name, d)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestTooWide wants what is above the runtime's refused, not clamped, and what
// only a one-shot can have refused in a runspace.
func TestTooWide(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	h.runtime(t, remuda.Definition{
		Name: "small", Language: remuda.LanguagePython, Resources: remuda.Resources{CPU: 0.5, MemoryMB: 64, DiskMB: 32, Pids: 16},
		Egress: remuda.Egress{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Names: []string{"*.a.example"}},
	})
	space := h.space(t, remuda.RunspaceRequest{Runtime: "small"})
	ranges := func(cidr string) *remuda.Egress {
		return &remuda.Egress{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix(cidr)}}
	}
	labels := func(name, value string) *remuda.Identity {
		return &remuda.Identity{Labels: map[string]string{name: value}}
	}
	for field, req := range map[string]remuda.ExecutionRequest{
		"limits.cpu":                {Limits: remuda.Resources{CPU: 0.51}},
		"limits.memory_mb":          {Limits: remuda.Resources{MemoryMB: 65}},
		"limits.disk_mb":            {Limits: remuda.Resources{DiskMB: 33}},
		"limits.pids":               {Limits: remuda.Resources{Pids: 1}},
		"egress.cidrs[1]":           {Egress: ranges("11.0.0.0/8")},
		"egress.names[0]":           {Egress: &remuda.Egress{Names: []string{"a.example"}}},
		"identity":                  {Identity: &remuda.Identity{}},
		"identity.subject":          {Identity: &remuda.Identity{Subject: "a\nb"}},
		"identity.labels.remuda.io": {Identity: labels("remuda.io", "x")},
		"identity.labels.remuda":    {Identity: labels("remuda", "x")},
		"identity.labels":           {Identity: labels("Team", "x")},
		"identity.labels.team":      {Identity: labels("team", strings.Repeat("x", 257))},
		"env.REMUDA_IDENTITY":       {Env: map[string]string{"REMUDA_IDENTITY": "{}"}},
		"limits":                    {Runspace: space.ID, Limits: remuda.Resources{CPU: 0.1}},
		"egress":                    {Runspace: space.ID, Egress: &remuda.Egress{}},
	} {
		if req.Runspace == "" {
			req.Runtime = "small"
		}
		req.Script = "value 1"
		_, err := h.executions.SubmitExecution(t.Context(), deployer, req, time.Minute)
		e, ok := errors.AsType[*remuda.Error](err)
		if !ok || e.Code != remuda.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if got := h.run(t, remuda.ExecutionRequest{Runtime: "small", Script: "value 1", Egress: ranges("10.2.0.0/16")}); got.State != remuda.ExecutionSuccess {
		t.Errorf("within the runtime's ranges: %s", got.Reason)
	}
}

// TestIdentity wants a script to see for whom it runs, in a runspace too and for
// that run only.
func TestIdentity(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	space := h.space(t, remuda.RunspaceRequest{})
	who := &remuda.Identity{Subject: "ada", Labels: map[string]string{"team": "a/b"}}
	for _, req := range []remuda.ExecutionRequest{{Runtime: "r"}, {Runspace: space.ID}} {
		req.Script, req.Identity = "env "+remuda.EnvIdentity, who
		e := h.run(t, req)
		var seen remuda.Identity
		if err := json.Unmarshal([]byte(h.output(t, e.ID)), &seen); err != nil || !cmp.Equal(seen, *who) {
			t.Errorf("the script sees %+v, %v", seen, err)
		}
		if req.Identity = nil; req.Runspace != "" {
			if got := h.output(t, h.run(t, req).ID); strings.Contains(got, "ada") {
				t.Errorf("the next run sees %q", got)
			}
		}
		err := h.store.Read(t.Context(), func(tx *store.Tx) error {
			list, _, err := tx.Audit(t.Context(), ours, remuda.Page{Limit: 200})
			if !slices.ContainsFunc(list, func(a remuda.AuditEntry) bool { return a.Object == string(e.ID) && a.Details["subject"] == "ada" }) {
				t.Error("the audit log does not name the subject")
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
