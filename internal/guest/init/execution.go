package guestinit

import (
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/guest/channel"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// phase is how far an execution is.
type phase int

const (
	running  phase = iota // the driver has it
	draining              // the script has ended, its output is being read
	ended                 // End is made; it is held until it is acknowledged
)

// timeoutGrace is how long an interrupted script has to end before its sandbox
// is killed, when time ran out.
const timeoutGrace = 300 * time.Millisecond

// One SIGINT can be lost: Python may have been on its way into a system call, which
// then does not notice; a shell may have been starting a program, which did not
// get it. So it is sent once more in the middle of the grace, and to a shell's
// children after again and then every againRarely.
const (
	again       = 150 * time.Millisecond
	againRarely = time.Second
)

// killPatience is how long a killed interpreter has to be gone before we report
// without it.
const killPatience = 2 * time.Second

// outputKillFactor times the output limit is what a script may write before it
// is killed; up to there what is over the limit is counted and cut.
const outputKillFactor = 10

// lastReads is how often the channel of a dead interpreter is read: more than its
// buffer can hold.
const lastReads = 64

// execution is one script run.
type execution struct {
	id        string
	phase     phase
	started   time.Time
	mark      protocol.Mark // the server's, kept for the next one
	timeout   time.Duration
	final     bool // kill at once when time is up
	timeoutAt time.Time
	killAt    time.Time // when patience with an interrupted or killed script ends
	againAt   time.Time // when it is interrupted, or once more
	postponed bool      // it was not interrupted yet
	grace     time.Duration
	captureAt time.Time // when output is read again
	killed    bool
	by        string // why we interrupted or killed it
	reason    string
	untaken   bool // the interpreter ended before it had taken the whole run
	streams   bool // messages become records
	objects   bool // objects become records

	output
	done *channel.Done
	wall time.Duration

	end      *protocol.End // held until it is acknowledged
	endBytes int           // of it, in the budget
	sentAt   time.Time     // to a server; zero: to none
}

// execute starts a script.
func (k *keeper) execute(e protocol.Execute) bool {
	if k.setup == nil || !k.setup.ready || (k.run != nil && k.run.phase != ended) {
		return false
	}
	r := &execution{
		id: e.ID, started: time.Now(), mark: e.Mark, final: e.KillOnTimeout, timeout: time.Duration(e.TimeoutMS) * time.Millisecond,
		output: output{limit: e.OutputLimit}, streams: e.Streams, objects: e.Objects,
	}
	if r.limit <= 0 {
		r.limit = defaultOutputLimit
	}
	if r.timeout > 0 {
		r.timeoutAt = r.started.Add(r.timeout)
	}
	if k.parent != nil {
		r.shared = &k.parent.template.held
	}
	if k.run != nil {
		k.run.drop() // acknowledged by this
	}
	k.run = r
	if k.driver.dead || k.driver.channel < 0 {
		r.reason, r.untaken = "the interpreter had ended before this execution", true
		k.kill("")
		k.finish()
		return true
	}
	k.resumeCapture()
	if err := k.driver.say(toRun(&e), e.Stdin); err != nil {
		r.done = &channel.Done{ExitCode: 1, ErrType: "Unsupported", ErrText: err.Error()}
		k.finish()
	}
	return true
}

// toRun makes the driver's request of the server's.
func toRun(e *protocol.Execute) *channel.Run {
	r := &channel.Run{Final: e.KillOnTimeout, Name: e.Name, Source: e.Script, Args: e.Args}
	if e.CodeFile != "" {
		r.CodeFile, r.Source = true, e.CodeFile
	}
	r.Extras = channel.Extras{Streams: e.Streams, Objects: e.Objects, Assign: e.Assign, Scratch: e.Scratch}
	for name, value := range e.Env {
		r.Env = append(r.Env, channel.Pair{Name: name, Value: value})
	}
	for name, value := range e.Parameters {
		r.Parameters = append(r.Parameters, channel.Pair{Name: name, Value: string(value)})
	}
	return r
}

// timeUp ends a script that has used up its time.
func (k *keeper) timeUp() {
	r := k.run
	r.timeoutAt = time.Time{}
	if r.phase != running || r.by != "" {
		return
	}
	r.reason = fmt.Sprintf("the time limit of %v was reached", r.timeout)
	if r.final {
		k.kill(killedByTime)
		return
	}
	r.by = killedByTime
	r.killAt = time.Now().Add(timeoutGrace)
	k.interruptDriver(timeoutGrace)
}

// nodeBegins is how long Node.js may be without a handler of SIGINT, which then ends
// it, when it begins a script: it takes those of others away before it sets its own.
const nodeBegins = 50 * time.Millisecond

// interruptDriver sends SIGINT to the interpreter and its foreground children.
func (k *keeper) interruptDriver(grace time.Duration) {
	r := k.run
	if r.grace = grace; k.driver.lines {
		r.grace = 2 * again
	}
	wait := nodeBegins - time.Since(r.started)
	if r.postponed = wait > 0 && k.setup.language == languageNode; r.postponed {
		r.againAt = time.Now().Add(wait)
		return
	}
	k.interruptNow()
}

func (k *keeper) interruptNow() {
	k.driver.interrupt()
	k.run.againAt = time.Now().Add(k.run.grace / 2)
}

// interruptAgain does what is due: it for the first time, or again.
func (k *keeper) interruptAgain() {
	r := k.run
	if r.postponed {
		r.postponed = false
		k.interruptNow()
		return
	}
	if r.againAt = (time.Time{}); !k.driver.lines {
		k.driver.interrupt()
		return
	}
	k.driver.interruptChildren()
	r.againAt = time.Now().Add(againRarely)
}

// interrupt does what the server asks to end a script.
func (k *keeper) interrupt(i protocol.Interrupt) bool {
	r := k.run
	if r == nil || r.id != i.ID || r.phase != running {
		return true // it has ended in the meantime
	}
	by := i.By
	if i.GraceMS <= 0 {
		k.kill(by)
		return true
	}
	if r.by == "" {
		r.by = by
	}
	grace := time.Duration(i.GraceMS) * time.Millisecond
	at := time.Now().Add(grace)
	if r.killAt.IsZero() || at.Before(r.killAt) {
		r.killAt = at
	}
	k.interruptDriver(grace)
	return true
}

// graceOver kills what did not end when it was interrupted, and stops waiting
// for what did not even end when it was killed.
func (k *keeper) graceOver() {
	r := k.run
	r.killAt = time.Time{}
	switch {
	case r.phase != running:
	case r.killed:
		k.driver.dead = true
		k.drain()
	default:
		k.kill("")
	}
}

// kill kills everything in the sandbox. by is the reason unless there is one.
func (k *keeper) kill(by string) {
	r := k.run
	if r.by == "" {
		r.by = by
	}
	r.killed = true
	r.killAt = time.Now().Add(killPatience)
	k.killAll()
}

// violation ends an instance whose driver sent what no driver of ours sends.
func (k *keeper) violation(err error) {
	k.unwatch(k.driver.channel)
	if k.template != nil {
		k.endTemplate()
		return
	}
	r := k.run
	if r == nil || r.phase != running {
		k.killAll() // the reaper's notice ends the program
		return
	}
	r.by = killedByPolicy
	r.reason = "the driver's channel was misused: " + err.Error()
	k.kill(killedByPolicy)
}

// runDone takes the driver's word that the script has ended.
func (k *keeper) runDone(d *channel.Done) {
	r := k.run
	if r.killed {
		return // too late: what counts is the kill
	}
	r.done = d
	k.drain()
}

// channelClosed is reached when the interpreter has closed its end of the
// channel, nearly always because it has ended; the reaper's notice follows. A
// script that closes the descriptor itself runs on and loses only its value.
func (k *keeper) channelClosed() {
	if len(k.driver.in) > 0 {
		k.driver.in = nil
	}
	if k.child != nil {
		k.child.still = time.Now().Add(tellTime)
	}
}

// driverDied is reached when the interpreter has been reaped.
func (k *keeper) driverDied() {
	for range lastReads { // what else has the channel may write for ever
		if !k.hear() {
			break
		}
	}
	if k.template == nil {
		k.killAll() // nothing outlives its interpreter
	}
	r := k.run
	switch {
	case k.template != nil && k.setup.ready:
		k.endTemplate()
	case !k.setup.ready:
		k.fatal("interpreter", fmt.Errorf("the interpreter %s before its driver spoke: %s", describe(k.driver.status), k.lastWords()))
	case r != nil && r.phase == running:
		r.untaken = k.driver.untaken()
		k.drain()
	case r == nil:
		k.done = true
	case r.phase == ended:
		k.leave()
	}
}

// leave ends the program once the server has had time to take the End. A server
// that is away keeps its whole linger time.
func (k *keeper) leave() {
	if k.greeted() && k.exitAt.IsZero() {
		k.exitAt = time.Now().Add(time.Second)
	}
}

// ack releases what the server holds by now. A number above the last record's
// acknowledges the End itself, as does the next Execute.
func (k *keeper) ack(a protocol.Ack) bool {
	r := k.run
	if r == nil || r.id != a.ID {
		return true
	}
	r.release(a.Seq)
	switch r.phase {
	case running:
		if r.captureAt.IsZero() { // else its time comes, and small pieces shall become one record until then
			k.resumeCapture()
		}
	case draining:
		k.drain()
	case ended:
		if a.Seq > r.seq {
			r.drop()
			k.run = nil
			k.done = k.done || k.driver.dead
		}
	}
	return true
}
