package fake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// The line language. One command a line; blank lines and lines that start with
// # do nothing; an unknown command is a script error of type SyntaxError.
//
//	print TEXT     TEXT and a newline to stdout
//	eprint TEXT    the same to stderr
//	say S TEXT     a message of stream S, if the request has Streams
//	flood N        N bytes of 'x' to stdout, in records of 32 KiB
//	count N D      the numbers from 1 to N, a line each, D (a Go duration) between
//	stdin          the request's stdin to stdout
//	args           the arguments, one a line
//	env NAME       a variable of the request or of the instance
//	param NAME     a parameter, as JSON
//	set NAME TEXT  keeps TEXT in the instance
//	get NAME       prints it; NameError when it is not set
//	value JSON     the value of the script; if the request has Objects also an object
//	write P TEXT   writes the file P of the workspace
//	read P         prints it
//	sleep D        waits (a Go duration)
//	block          waits until interrupted, canceled or out of time
//	stubborn       interrupts do nothing from here on
//	raise T TEXT   ends with an exception
//	exit N         ends with exit code N
//	die BY         the whole sandbox is killed (memory, pids, policy, ...)
type script struct {
	box     *sandbox
	run     *run
	req     engine.Request
	started time.Time
	kept    int64
	cut     int64
	value   *remuda.Value
}

// ended is the error with which a command ends the script.
type ended struct{ result engine.Result }

func (ended) Error() string { return "the script has ended" }

func (s *script) play(ctx context.Context) (engine.Result, error) {
	source := s.req.Script
	if s.req.CodeFile != "" {
		content, err := s.box.files.content(s.req.CodeFile)
		if err != nil {
			return engine.Result{}, err
		}
		source = string(content)
	}
	for line := range strings.SplitSeq(source, "\n") {
		if ctx.Err() != nil {
			break
		}
		err := s.step(ctx, strings.TrimSpace(line))
		if end, ok := errors.AsType[ended](err); ok {
			return s.complete(end.result), nil
		}
		if err != nil && ctx.Err() == nil {
			return engine.Result{}, err
		}
	}
	if ctx.Err() != nil {
		return s.stopped(ctx), nil
	}
	code := 0
	return s.complete(engine.Result{State: remuda.ExecutionSuccess, ExitCode: &code, Value: s.value}), nil
}

// step runs one line. Its error is an ended, the sink's, or ctx's.
func (s *script) step(ctx context.Context, line string) error {
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "print":
		return s.write(ctx, remuda.StreamStdout, []byte(rest+"\n"))
	case "eprint":
		return s.write(ctx, remuda.StreamStderr, []byte(rest+"\n"))
	case "say":
		stream, text, _ := strings.Cut(rest, " ")
		if !s.req.Streams {
			return nil
		}
		return s.write(ctx, remuda.Stream(stream), []byte(text))
	case "flood":
		n, err := strconv.Atoi(rest)
		if err != nil {
			return raise("ValueError", rest)
		}
		return s.flood(ctx, n)
	case "stdin":
		return s.write(ctx, remuda.StreamStdout, s.req.Stdin)
	case "args":
		return s.write(ctx, remuda.StreamStdout, []byte(strings.Join(s.req.Args, "\n")+"\n"))
	case "env":
		env := maps.Clone(s.box.spec.Env)
		if v, ok := s.req.Env[rest]; ok {
			env = map[string]string{rest: v}
		}
		return s.write(ctx, remuda.StreamStdout, []byte(env[rest]+"\n"))
	case "param":
		return s.write(ctx, remuda.StreamStdout, append(slices.Clone([]byte(s.req.Parameters[rest])), '\n'))
	case "count":
		return s.count(ctx, rest)
	case "value":
		if !json.Valid([]byte(rest)) {
			return raise("ValueError", "not JSON: "+rest)
		}
		return s.evaluate(ctx, rest)
	case "set", "get":
		return s.remember(ctx, verb, rest)
	case "write", "read":
		return s.file(ctx, verb, rest)
	case "sleep", "block":
		return pause(ctx, verb, rest)
	case "stubborn":
		return s.remember(ctx, "set", "stubborn yes")
	default:
		return finish(verb, rest)
	}
}

// evaluate makes a value, which the request may want kept in the instance.
func (s *script) evaluate(ctx context.Context, text string) error {
	if s.req.Assign != "" {
		return s.remember(ctx, "set", s.req.Assign+" "+text)
	}
	s.value = &remuda.Value{JSON: json.RawMessage(text), Text: text}
	if !s.req.Objects {
		return nil
	}
	return s.write(ctx, remuda.StreamObject, []byte(text))
}

// finish runs the commands that end the script.
func finish(verb, rest string) error {
	switch verb {
	case "raise":
		kind, text, _ := strings.Cut(rest, " ")
		return raise(kind, text)
	case "exit":
		code, err := strconv.Atoi(rest)
		if err != nil {
			return raise("ValueError", rest)
		}
		state := remuda.ExecutionSuccess
		if code != 0 {
			state = remuda.ExecutionError
		}
		return ended{engine.Result{State: state, ExitCode: &code}}
	case "die":
		return ended{engine.Result{
			State: remuda.ExecutionError, KilledBy: remuda.KilledBy(rest), Dead: true,
			Reason: "the sandbox was killed by its " + rest + " limit",
		}}
	default:
		return raise("SyntaxError", "unknown command "+verb)
	}
}

func raise(kind, text string) error {
	code := 1
	return ended{engine.Result{
		State: remuda.ExecutionError, ExitCode: &code,
		Error: &remuda.ScriptError{Type: kind, Message: text, Traceback: fmt.Sprintf("Traceback (most recent call last):\n  File \"script\", line 1\n%s: %s\n", kind, text)},
	}}
}

func pause(ctx context.Context, verb, rest string) error {
	if verb == "block" {
		<-ctx.Done()
		return ctx.Err()
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return raise("ValueError", err.Error())
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *script) remember(ctx context.Context, verb, rest string) error {
	name, text, _ := strings.Cut(rest, " ")
	s.box.mu.Lock()
	v, ok := s.box.state[name]
	if verb == "set" {
		s.box.state[name] = text
	}
	s.box.mu.Unlock()
	switch {
	case verb == "set":
		return nil
	case !ok:
		return raise("NameError", "name '"+name+"' is not defined")
	default:
		return s.write(ctx, remuda.StreamStdout, []byte(v+"\n"))
	}
}

func (s *script) file(ctx context.Context, verb, rest string) error {
	path, text, _ := strings.Cut(rest, " ")
	if verb == "write" {
		if _, err := s.box.files.Write(ctx, path, strings.NewReader(text), remuda.MaxFileBytes); err != nil {
			return raise("OSError", err.Error())
		}
		return nil
	}
	_, r, err := s.box.files.Read(ctx, path, remuda.MaxFileBytes)
	if err != nil {
		return raise("OSError", err.Error())
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return s.write(ctx, remuda.StreamStdout, content)
}

func (s *script) flood(ctx context.Context, n int) error {
	chunk := bytes.Repeat([]byte{'x'}, 32<<10)
	for n > 0 && ctx.Err() == nil {
		c := chunk[:min(n, len(chunk))]
		if err := s.write(ctx, remuda.StreamStdout, c); err != nil {
			return err
		}
		n -= len(c)
	}
	return ctx.Err()
}

func (s *script) count(ctx context.Context, rest string) error {
	number, interval, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return raise("ValueError", rest)
	}
	for k := 1; k <= n; k++ {
		if err := s.write(ctx, remuda.StreamStdout, fmt.Appendln(nil, k)); err != nil {
			return err
		}
		if err := pause(ctx, "sleep", interval); err != nil {
			return err
		}
	}
	return nil
}

// write sends one record, cut at the output limit.
func (s *script) write(ctx context.Context, stream remuda.Stream, data []byte) error {
	limit := s.req.OutputLimit
	if limit == 0 {
		limit = remuda.DefaultOutputLimit
	}
	keep := min(int64(len(data)), limit-s.kept)
	s.cut += int64(len(data)) - keep
	if keep <= 0 {
		return nil
	}
	s.kept += keep
	return s.box.write(ctx, s.run, stream, slices.Clone(data[:keep]))
}

// stopped is the result of a script that was ended from outside.
func (s *script) stopped(ctx context.Context) engine.Result {
	var why stopped
	if !errors.As(context.Cause(ctx), &why) {
		why = stopped{by: remuda.KilledByCancel, dead: true} // the caller's ctx: the sandbox is killed
	}
	res := engine.Result{KilledBy: why.by, Dead: why.dead, Reason: "stopped by " + string(why.by)}
	switch why.by {
	case remuda.KilledByTime:
		res.State = remuda.ExecutionTimeout
	case remuda.KilledByCancel:
		res.State = remuda.ExecutionCanceled
	case remuda.KilledByNothing:
		res.State = remuda.ExecutionLost
	default:
		res.State = remuda.ExecutionError
	}
	return s.complete(res)
}

func (s *script) complete(res engine.Result) engine.Result {
	s.box.mu.Lock()
	res.LastSeq, res.OutputCut = s.run.seq, s.cut
	s.box.mu.Unlock()
	wall := time.Since(s.started)
	res.Usage = remuda.Usage{CPU: time.Microsecond, Wall: wall, PeakMemory: 1 << 20}
	res.Timings = remuda.Timings{"send": time.Microsecond, "run": wall}
	return res
}
