package audit_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/secret"
	"github.com/remuda-run/remuda/internal/store"
)

func TestDetailsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a"
	got := audit.Details(
		"name", "plain", "typed", secret.String(canary), "password", canary, "client_secret", canary, "Authorization", "Basic "+canary,
		"list", []any{secret.String(canary)}, "error", fmt.Errorf("private %s: %w", canary, errors.New(canary)),
		"public", &remuda.Error{Code: remuda.CodeConflict, Message: "m", Err: errors.New(canary)},
		"n", 3, "at", time.Unix(0, 0), "role", remuda.RoleMonitor, "long", strings.Repeat("ä", 500), 7, "odd",
	)
	want := map[string]string{
		"name": "plain", "typed": secret.Redacted, "password": secret.Redacted, "client_secret": secret.Redacted, "Authorization": secret.Redacted,
		"list": "[" + secret.Redacted + "]", "error": "internal", "public": "conflict: m", "n": "3", "at": "1970-01-01T00:00:00Z", "role": "monitor",
		"long": strings.Repeat("ä", 128) + "...", "!badkey": "a detail without a key was left out",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if audit.Details() != nil {
		t.Error("no details must be nil")
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "remuda.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	at := time.Unix(1000, 0).UTC()
	org, other := remuda.NewOrganizationID(), remuda.NewOrganizationID()
	p := remuda.Principal{User: "usr_1", Organization: org, Role: remuda.RoleAdministrator, Scope: remuda.ScopeRead, RequestID: "req_1"}
	foreign := p
	foreign.Organization = other
	err = s.Write(t.Context(), func(tx *store.Tx) error {
		for _, o := range []remuda.OrganizationID{org, other} {
			if err := tx.InsertOrganization(t.Context(), remuda.Organization{ID: o, Name: string(o), CreatedAt: at}); err != nil {
				return err
			}
		}
		if err := tx.AppendAudit(t.Context(), audit.Entry(foreign, authz.RuntimeWrite, "rt_2", nil, at)); err != nil {
			return err
		}
		return tx.AppendAudit(t.Context(), audit.Entry(p, authz.RuntimeWrite, "rt_1", remuda.Errorf(remuda.CodeConflict, "x"), at, "name", "n"))
	})
	if err != nil {
		t.Fatal(err)
	}
	service := audit.New(s)
	got, next, err := service.List(t.Context(), p, remuda.Page{})
	if err != nil || next != "" || len(got) != 1 {
		t.Fatalf("%v, %q, %v", got, next, err)
	}
	want := remuda.AuditEntry{
		Organization: org, User: "usr_1", Action: "runtime.write", Object: "rt_1", Outcome: "conflict", RequestID: "req_1", At: at,
		Details: map[string]string{"name": "n"}, Seq: 1, Hash: got[0].Hash,
	}
	if d := cmp.Diff(want, got[0]); d != "" {
		t.Error(d)
	}
	p.Role = remuda.RoleDeployer
	if _, _, err := service.List(t.Context(), p, remuda.Page{}); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("a deployer reads the log: %v", err)
	}
}
