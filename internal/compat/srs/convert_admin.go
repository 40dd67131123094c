package srs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

const day = 24 * time.Hour

// UnmarshalJSON takes what the document's Count allows.
func (n *count) UnmarshalJSON(data []byte) error {
	v, err := strconv.Atoi(strings.Trim(string(data), `"`))
	if err != nil || v < 0 {
		return remuda.Invalid(remuda.FieldError{Message: "must be a whole number"})
	}
	*n = count(v)
	return nil
}

// in is a limit in units; a started one counts. What is not bounded is 0.
func in(d, unit time.Duration) *count {
	n := count((d + unit - 1) / unit)
	return &n
}

func number(n int) *count {
	c := count(n)
	return &c
}

func (n *count) number() *int {
	if n == nil {
		return nil
	}
	v := int(*n)
	return &v
}

func (n *count) of(unit time.Duration) *time.Duration {
	if n == nil {
		return nil
	}
	d := time.Duration(min(int64(*n), math.MaxInt64/int64(unit))) * unit // the service says what is too much
	return &d
}

func providerToWire(l remuda.Limits) providerSettings {
	return providerSettings{MaxRunspaces: number(l.MaxRunspaces), IdleMinutes: in(l.IdleTimeout, time.Minute), ActiveMinutes: in(l.ActiveTimeout, time.Minute)}
}

func providerPatch(w providerSettings) remuda.LimitsPatch {
	return remuda.LimitsPatch{MaxRunspaces: w.MaxRunspaces.number(), IdleTimeout: w.IdleMinutes.of(time.Minute), ActiveTimeout: w.ActiveMinutes.of(time.Minute)}
}

func retentionToWire(l remuda.Limits) retentionPolicy {
	return retentionPolicy{MaxScripts: number(l.KeepExecutions), MaxDays: in(l.KeepFor, day)}
}

func retentionPatch(w retentionPolicy) remuda.LimitsPatch {
	return remuda.LimitsPatch{KeepExecutions: w.MaxScripts.number(), KeepFor: w.MaxDays.of(day)}
}

// logLine is an entry of the audit log as one line.
func logLine(e remuda.AuditEntry) string {
	details := make([]string, 0, len(e.Details))
	for _, key := range sortedKeys(e.Details) {
		details = append(details, fmt.Sprintf("%s=%q", key, e.Details[key]))
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d user=%s %s %s %s %s", timeText(e.At), e.Seq, e.User, e.Action, e.Object, e.Outcome, strings.Join(details, " "))) + "\n"
}
