package local

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestDiedAlone has a script end its interpreter while no server is there. What it
// has said, and how it ended, is told to the next one.
func TestDiedAlone(t *testing.T) {
	kinds(t, func(t *testing.T, forked bool) {
		a := newEra(t)
		i, id := a.make(forked, 200), remuda.NewExecutionID()
		a.leaveRunning(i, id, "os._exit(3)")(keepers(forked))
		found := a.next(i.ID())
		if len(found.Attached) != 1 {
			t.Fatalf("%+v", found)
		}
		res, out := resumeAll(t, found.Attached[0], id)
		if res.State != remuda.ExecutionError || res.ExitCode == nil || *res.ExitCode != 3 || !res.Dead || out != "began\ngoes on\n" {
			t.Errorf("it ended as %+v with the output %q", res, out)
		}
		if err := found.Attached[0].Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestRanOutOfMemoryAlone has it use more than its memory then.
func TestRanOutOfMemoryAlone(t *testing.T) {
	kinds(t, func(t *testing.T, forked bool) {
		a := newEra(t)
		i, id := a.make(forked, 16), remuda.NewExecutionID()
		a.leaveRunning(i, id, "x = b'x' * (1 << 30)")(keepers(forked))
		found := a.next(i.ID())
		if len(found.Attached) == 0 && strings.Contains(found.Lost[i.ID()], "more memory than it may") {
			return // with cgroup v2 its keeper goes with it
		}
		if len(found.Attached) != 1 {
			t.Fatalf("%+v", found)
		}
		res, _ := resumeAll(t, found.Attached[0], id)
		if res.State != remuda.ExecutionError || res.KilledBy != remuda.KilledByMemory || !res.Dead {
			t.Errorf("it ended as %+v", res)
		}
	})
}

func resumeAll(t *testing.T, inst engine.Instance, id remuda.ExecutionID) (engine.Result, string) {
	t.Helper()
	var out strings.Builder
	res, err := inst.(engine.Resumer).Resume(t.Context(), engine.Request{ID: id, HoldOutput: true}, 0, func(r remuda.OutputRecord) error {
		out.Write(r.Data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return res, out.String()
}

// TestLost has instances that are wanted not be there, for every reason.
func TestLost(t *testing.T) {
	rewrite := func(t *testing.T, a *era, i *Instance, change func(*metadata)) {
		t.Helper()
		path := filepath.Join(a.dir, "run", string(i.ID())+".json")
		b, err := os.ReadFile(path)
		m := metadata{}
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		change(&m)
		if b, _ = json.Marshal(m); err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	kill := func(t *testing.T, pid int) {
		t.Helper()
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		if err := unix.PidfdSendSignal(fd, syscall.SIGKILL, nil, 0); err != nil {
			t.Fatal(err)
		}
		until(t, "it ends", func() bool { return readable(fd) })
	}
	for name, tt := range map[string]struct {
		spoil  func(*testing.T, *era, *Instance)
		reason string
		forked bool // only
	}{
		"older protocol": {spoil: func(t *testing.T, a *era, i *Instance) {
			rewrite(t, a, i, func(m *metadata) { m.Protocol = 5 })
		}, reason: "its keeper speaks version 5"},
		"older build": {spoil: func(t *testing.T, a *era, i *Instance) {
			rewrite(t, a, i, func(m *metadata) { m.Protocol = 0 })
		}, reason: "an older version of remuda"},
		"killed": {spoil: func(t *testing.T, _ *era, i *Instance) { kill(t, i.blank.proc.pid) }, reason: "had ended before this server came"},
		"another process": {spoil: func(t *testing.T, a *era, i *Instance) {
			rewrite(t, a, i, func(m *metadata) { m.Pid, m.StartTime = os.Getpid(), m.StartTime+1 })
		}, reason: "had ended before this server came"},
		"killed keeper": {spoil: func(t *testing.T, _ *era, i *Instance) { kill(t, i.blank.shared.Pid) }, reason: "had ended before this server came", forked: true},
		"another user": {spoil: func(t *testing.T, a *era, i *Instance) {
			rewrite(t, a, i, func(m *metadata) { m.Shared.User += 4 })
		}, reason: "had ended before this server came", forked: true},
		"no socket": {spoil: func(t *testing.T, a *era, i *Instance) {
			sockets, err := filepath.Glob(filepath.Join(a.dir, "run", "*.sock"))
			if err != nil || len(sockets) != 1 || os.Remove(sockets[0]) != nil {
				t.Fatalf("sockets %v, %v", sockets, err)
			}
		}, reason: "its keeper cannot be reached"},
		"no description": {spoil: func(t *testing.T, a *era, i *Instance) {
			if err := os.Remove(filepath.Join(a.dir, "run", string(i.ID())+".json")); err != nil {
				t.Fatal(err)
			}
		}, reason: "left nothing of it"},
		"half a description": {spoil: func(t *testing.T, a *era, i *Instance) {
			if err := os.Truncate(filepath.Join(a.dir, "run", string(i.ID())+".json"), 50); err != nil {
				t.Fatal(err)
			}
		}, reason: "not whole"},
		"no cgroup": {spoil: func(t *testing.T, a *era, i *Instance) {
			rewrite(t, a, i, func(m *metadata) { m.Cgroup = "blank-0000" })
		}, reason: "its limits are gone"},
	} {
		kinds(t, func(t *testing.T, forked bool) {
			if tt.forked && !forked {
				return
			}
			t.Run(name, func(t *testing.T) {
				a := newEra(t)
				i := a.make(forked, 16)
				if err := i.Detach(t.Context()); err != nil {
					t.Fatal(err)
				}
				a.close()
				tt.spoil(t, a, i)
				found := a.next(i.ID())
				if len(found.Attached) != 0 || len(found.Lost) != 1 || !strings.Contains(found.Lost[i.ID()], tt.reason) {
					t.Errorf("recovered %+v, want it lost because %q", found, tt.reason)
				}
				groups, err := a.e.herd.Names()
				if err != nil || len(groups) != 0 {
					t.Errorf("cgroups are left: %v, %v", groups, err)
				}
				if start, err := StartTime(i.blank.proc.pid); err == nil && !zombie(t, i.blank.proc.pid) {
					t.Errorf("process %d of what is lost lives (started at %d)", i.blank.proc.pid, start)
				}
			})
		})
	}
}

// TestRecoverIsGivenUp stops a server while it takes over: what is there lives on, for
// the next one.
func TestRecoverIsGivenUp(t *testing.T) {
	kinds(t, func(t *testing.T, forked bool) {
		a := newEra(t)
		i := a.make(forked, 16)
		if res, err := i.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: "x = 42"}, nil); err != nil || res.State != remuda.ExecutionSuccess {
			t.Fatalf("%+v, %v", res, err)
		}
		if err := i.Detach(t.Context()); err != nil {
			t.Fatal(err)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		found, err := a.nextIn(stopped, i.ID())
		t.Logf("given up: %+v, %v", found, err)
		for _, inst := range found.Attached {
			if err := inst.(engine.Detacher).Detach(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if found = a.next(i.ID()); len(found.Attached) != 1 {
			t.Fatalf("afterwards: %+v", found)
		}
		inst := found.Attached[0]
		if err := inst.(engine.Resumer).Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
		res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: "assert x == 42"}, nil)
		if err != nil || res.State != remuda.ExecutionSuccess {
			t.Errorf("its variable: %+v, %v", res, err)
		}
		if err := inst.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestUnwantedBesideWanted has two forks of one template of which one is wanted.
func TestUnwantedBesideWanted(t *testing.T) {
	a := newEra(t)
	wanted, other := a.make(true, 200), a.make(true, 200)
	for _, i := range []*Instance{wanted, other} {
		res, err := i.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: "x = 1"}, nil)
		if err != nil || res.State != remuda.ExecutionSuccess {
			t.Fatalf("%+v, %v", res, err)
		}
		if err := i.Detach(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	disk := imageName{other.disk.loop, other.disk.name}
	if ours, err := backs(disk.Loop, disk.Name); err != nil || !ours {
		t.Fatalf("the disk is not where it is looked for: %v, %v", ours, err)
	}
	found := a.next(wanted.ID())
	if len(found.Attached) != 1 || len(found.Ended) != 1 || found.Ended[0] != other.ID() {
		t.Fatalf("%+v", found)
	}
	until(t, "the disk of what nobody wants goes", func() bool {
		ours, err := backs(disk.Loop, disk.Name)
		return err == nil && !ours
	})
	if len(a.e.orphans) != 1 {
		t.Errorf("keepers of templates: %v", a.e.orphans)
	}
	inst := found.Attached[0]
	if err := inst.(engine.Resumer).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: "assert x == 1"}, nil)
	if err != nil || res.State != remuda.ExecutionSuccess {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestGarbageToAKeeper says what no server says to keepers that are alone. Each
// time only the connection ends.
func TestGarbageToAKeeper(t *testing.T) {
	kinds(t, func(t *testing.T, forked bool) {
		a := newEra(t)
		i, id := a.make(forked, 16), remuda.NewExecutionID()
		goOn := a.leaveRunning(i, id, "42")
		socket, user := string(i.ID())+".sock", 0
		if forked {
			socket, user = i.blank.shared.Name+".sock", i.blank.shared.User
		}
		hello := protocol.AppendFrame(nil, protocol.TypeHello, &protocol.Hello{Version: protocol.Version})
		attach := func(user int) []byte {
			return protocol.AppendFrame(nil, protocol.TypeAttach, &protocol.Attach{User: user})
		}
		fork := protocol.AppendFrame(nil, protocol.TypeFork, &protocol.Fork{})
		for name, frames := range map[string][][]byte{
			"attach to nobody": {hello, attach(0)}, "attach to a negative one": {hello, attach(-1)}, "attach before hello": {attach(user)},
			"half an attach": {hello, protocol.Append(nil, protocol.TypeAttach, nil)}, "long attach": {hello, protocol.Append(nil, protocol.TypeAttach, []byte{2, 2})},
			"attach and garbage": {hello, attach(user), {0, 0, 0, 0, 200}}, "attach twice": {hello, attach(user), attach(user)},
			"attach and setup":      {hello, attach(user), protocol.AppendFrame(nil, protocol.TypeSetup, &protocol.Setup{})},
			"attach and fork":       {hello, attach(user), fork},
			"fork":                  {hello, fork},
			"execute in between":    {hello, attach(user), protocol.AppendFrame(nil, protocol.TypeExecute, &protocol.Execute{ID: "x", Script: "1"})},
			"more than can be":      {hello, {0xff, 0xff, 0xff, 0xff, byte(protocol.TypeAttach)}},
			"a server that went on": {hello, hello},
		} {
			c, err := dial(t.Context(), filepath.Join(a.dir, "run"), socket)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, f := range frames {
				_, _ = c.Write(f) // it may be closed by then
			}
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			for {
				if _, _, err = protocol.Read(c, nil, protocol.MaxFrame); err != nil {
					break
				}
			}
			if os.IsTimeout(err) {
				t.Errorf("%s: the connection stays", name)
			}
			_ = c.Close()
		}
		goOn(2) // as many as there are
		found := a.next(i.ID())
		if len(found.Attached) != 1 {
			t.Fatalf("%+v", found)
		}
		if res, out := resumeAll(t, found.Attached[0], id); res.State != remuda.ExecutionSuccess || out != "began\ngoes on\n" {
			t.Errorf("it ended as %+v with the output %q", res, out)
		}
	})
}

// TestNewerConnection has one connection replace another, again and again.
func TestNewerConnection(t *testing.T) {
	a := newEra(t)
	i, id := a.make(true, 16), remuda.NewExecutionID()
	goOn := a.leaveRunning(i, id, "42")
	var older *keeper.Conn
	for range 5 {
		c, err := dial(t.Context(), filepath.Join(a.dir, "run"), i.blank.shared.Name+".sock")
		if err != nil {
			t.Fatal(err)
		}
		k, err := keeper.Attach(t.Context(), c, i.blank.shared.User)
		if err != nil {
			t.Fatal(err)
		}
		if s := k.State(); !s.Ready || s.Execution != string(id) || s.NextSeq != 1 || s.LingerMS != time.Hour.Milliseconds() || s.ElapsedUS <= 0 {
			t.Errorf("the state is %+v", s)
		}
		if older != nil {
			until(t, "the older connection ends", older.Gone)
			older.Close()
		}
		older = k
	}
	older.Close()
	goOn(2)
	found := a.next(i.ID())
	if len(found.Attached) != 1 {
		t.Fatalf("%+v", found)
	}
	if res, out := resumeAll(t, found.Attached[0], id); res.State != remuda.ExecutionSuccess || out != "began\ngoes on\n" {
		t.Errorf("it ended as %+v with the output %q", res, out)
	}
}

// TestClosedBeforeRecover has a server give up before it has looked at what is there.
func TestClosedBeforeRecover(t *testing.T) {
	kinds(t, func(t *testing.T, forked bool) {
		a := newEra(t)
		i, id := a.make(forked, 16), remuda.NewExecutionID()
		goOn := a.leaveRunning(i, id, "42")
		for range 2 {
			e, err := New(t.Context(), Options{DataDir: a.dir})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Close(t.Context()); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		goOn(2)
		found := a.next(i.ID())
		if len(found.Attached) != 1 {
			t.Fatalf("%+v", found)
		}
		if res, out := resumeAll(t, found.Attached[0], id); res.State != remuda.ExecutionSuccess || out != "began\ngoes on\n" {
			t.Errorf("it ended as %+v with the output %q", res, out)
		}
	})
}

// TestLanguagesSurvive has each language keep a variable and a running script.
func TestLanguagesSurvive(t *testing.T) {
	for language, say := range map[remuda.Language]struct{ set, get, goOn string }{
		remuda.LanguageNode: {"var x = 'kept'", "console.log(x)", "console.log('began'); for (const fs = require('fs'); !fs.existsSync('go');); console.log('goes on')"},
		remuda.LanguageBash: {"x=kept", "echo $x", "echo began; until [ -e go ]; do sleep 0.01; done; echo goes on"},
	} {
		kinds(t, func(t *testing.T, forked bool) {
			t.Run(string(language), func(t *testing.T) {
				a := newEra(t)
				spec := templateSpec()
				spec.Language, spec.Linger, spec.Background = language, time.Hour, forked
				if !forked {
					spec.Generation = remuda.GenerationKey{}
				}
				inst, err := a.e.Create(t.Context(), spec)
				if err != nil {
					t.Fatal(err)
				}
				if inst.(*Instance).blank.forked != forked {
					t.Fatalf("forked is not %v", forked)
				}
				id := remuda.NewExecutionID()
				if res, err := inst.Execute(t.Context(), engine.Request{ID: id, Script: say.set}, nil); err != nil || res.State != remuda.ExecutionSuccess {
					t.Fatalf("%+v, %v", res, err)
				}
				a.leaveScript(inst.(*Instance), id, say.goOn)(spec.Resources.Pids)
				found := a.next(spec.ID)
				if len(found.Attached) != 1 {
					t.Fatalf("%+v", found)
				}
				if res, out := resumeAll(t, found.Attached[0], id); res.State != remuda.ExecutionSuccess || out != "began\ngoes on\n" {
					t.Errorf("it ended as %+v with the output %q", res, out)
				}
				var out strings.Builder
				res, err := found.Attached[0].Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: say.get}, func(r remuda.OutputRecord) error {
					out.Write(r.Data)
					return nil
				})
				if err != nil || res.State != remuda.ExecutionSuccess || out.String() != "kept\n" {
					t.Errorf("%+v, %v, output %q", res, err, out.String())
				}
			})
		})
	}
}
