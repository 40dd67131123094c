package bench

import (
	"fmt"
	"time"
)

// Goal is one target of the project and whether this run met it.
type Goal struct {
	Name    string  `json:"name"`
	Goal    string  `json:"goal"`
	Got     float64 `json:"got"`
	Met     bool    `json:"met"`
	Missing string  `json:"missing,omitempty"` // why nothing was measured
}

// goalList judges. A value that is 0 was not measured.
type goalList struct{ goals []Goal }

func (l *goalList) atMost(name string, got, limit float64, unit string) {
	l.add(name, fmt.Sprintf("<= %g %s", limit, unit), got, got <= limit)
}

func (l *goalList) atLeast(name string, got, limit float64, unit string) {
	l.add(name, fmt.Sprintf(">= %g %s", limit, unit), got, got >= limit)
}

func (l *goalList) add(name, text string, got float64, met bool) {
	g := Goal{Name: name, Goal: text, Got: got, Met: met}
	if got == 0 {
		g.Met, g.Missing = false, "not measured"
	}
	l.goals = append(l.goals, g)
}

// judge compares the run with "Figures to reach" of the project's plan.
func (m *measurement) judge() []Goal {
	l := &goalList{}
	ref := m.ref.Median()
	if m.wants("warm") {
		l.atMost("warm one-shot at 200/s, p50", ratio(m.warm200.Median(), ref), 0.07, "ref")
		l.atMost("warm one-shot at 200/s, p99", ratio(m.warm200.P99(), ref), 0.3, "ref")
		l.atMost("warm one-shot at 50/s, p50", ratio(m.warm50.Median(), ref), 0.15, "ref")
		l.atMost("warm one-shot at 50/s, p99", ratio(m.warm50.P99(), ref), 0.6, "ref")
	}
	if m.wants("rate") {
		fresh := m.loops.fresh.Median()
		l.atLeast("fresh executions a second, 16 clients", per(fresh, m.loops.floor.Median()), 0.75, "of the bare loop")
		l.atLeast("the same against "+m.loops.container.Name, per(fresh, m.loops.container.Median()), 4, "times "+m.loops.container.Name)
	}
	if m.wants("runspace") {
		l.atMost("runspace 1+1, p50", ms(m.runspace.Median()), 0.25, "ms")
		l.atMost("the same in ref", ratio(m.runspace.Median(), ref), 0.04, "ref")
		l.atLeast("the same against ipykernel", ratio(m.kernel.Median(), m.runspace.Median()), 15, "times faster")
		l.atLeast("the same, as lasting runspaces want it", ratio(m.kernel.Median(), m.runspace.Median()), 5, "times faster")
		l.atLeast("runspace over one streaming connection", m.loops.stream.Median(), 8000, "a second")
	}
	if m.wants("cold") {
		m.judgeCold(l, ref)
	}
	if m.wants("rate") {
		l.atLeast("cold, nothing up, two at a time", per(m.loops.nothing.Median(), m.loops.python.Median()), 0.7, "of bare python3")
	}
	if m.wants("preload") {
		l.atMost("100 instances with modules preloaded", m.preload.ratio(), 1.3, "of the bare loop")
	}
	if m.wants("lasting") {
		l.atMost("runspace through the SRS door, until it is ready, p50", ms(m.lasting.ready.Median()), 2, "ms")
		l.atMost("interrupt of a C loop, p99", ms(m.lasting.interrupt.P99()), 300, "ms")
		l.atMost(fmt.Sprintf("server killed, until %d runspaces have answered", survivors), ms(m.lasting.attached.Median()), 2000, "ms")
	}
	if m.wants("neighbour") {
		l.atMost("warm beside a loud neighbour, p99", ratio(m.neighbour.loud.P99(), m.neighbour.quiet.P99()), 2, "times beside a quiet one")
	}
	mem := m.report.Memory
	if m.wants("memory") {
		l.atMost("private memory of a warm instance", mem.PrivateKB/1024, 2, "MB")
		l.atMost(m.thousand(), mem.ThousandMB, 4096, "MB")
	}
	l.atLeast("executions that succeeded, of all rows", m.succeeded(), 1, "of all")
	l.atMost("idle server, resident", mem.IdleServerMB, 60, "MB")
	return l.goals
}

func (m *measurement) judgeCold(l *goalList, ref time.Duration) {
	l.atMost("cold, template up, p50", ratio(m.coldUp.Median(), ref), 0.4, "ref")
	nothing := m.coldNothing.Median()
	l.atMost("cold, nothing up, p50", ratio(nothing, ref), 1.25, "ref")
	if p := m.peer("crun", "runc"); p != nil {
		l.atMost("the same against "+p.series.Name, ratio(nothing, p.series.Median()), 0.95, "of "+p.series.Name)
	} else {
		l.atMost("the same against crun or runc", 0, 0.95, "of it")
	}
	if p := m.peer("podman run", "docker run"); p != nil {
		l.atLeast("the same against "+p.series.Name, ratio(p.series.Median(), nothing), 10, "times faster")
	} else {
		l.atLeast("the same against podman or docker", 0, 10, "times faster")
	}
}

// succeeded is the share of our executions that did: a latency without those
// that failed would flatter.
func (m *measurement) succeeded() float64 {
	good, bad := 0, 0
	for _, s := range []*Series{&m.coldUp, &m.coldNothing, &m.warm200, &m.warm50, &m.runspace, &m.stream, &m.preload.ours, &m.lasting.ready, &m.lasting.interrupt, &m.lasting.attached, &m.neighbour.quiet, &m.neighbour.loud} {
		good, bad = good+len(s.Samples), bad+s.Errors
	}
	for _, r := range []*Rate{&m.loops.fresh, &m.loops.nothing, &m.loops.stream} {
		bad += r.Errors
	}
	return per(float64(good), float64(good+bad))
}

// thousand names the goal of 1,000 instances, and how it was come by.
func (m *measurement) thousand() string {
	if m.report.Memory.Instances >= 1000 {
		return "1,000 warm instances, all told"
	}
	return fmt.Sprintf("1,000 warm instances, all told, from %d", m.report.Memory.Instances)
}

func ratio(a, b time.Duration) float64 { return per(float64(a), float64(b)) }

// per is a/b, 0 where either was not measured.
func per(a, b float64) float64 {
	if a <= 0 || b <= 0 {
		return 0
	}
	return a / b
}
