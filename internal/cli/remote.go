package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/remuda"
)

// remote is the client with what several commands need besides.
type remote struct {
	*client.Client

	user, password, organization string // for CreateToken, when one logs in with them
}

// remote makes a client from the settings.
func (c *command) remote() (*remote, error) {
	loaded, err := c.settings()
	if err != nil {
		return nil, err
	}
	return c.remoteOf(loaded.Config)
}

func (c *command) remoteOf(conf config.Config) (*remote, error) {
	if conf.URL != "" && conf.Token == "" {
		return nil, &remuda.Error{
			Code: remuda.CodeUnauthenticated, Message: "no token for " + conf.URL,
			Remedy: "set REMUDA_TOKEN; `remuda token create NAME --user USER` makes one",
		}
	}
	return c.connect(conf)
}

// remoteAs makes a client that logs in with a password.
func (c *command) remoteAs(conf config.Config, user, password, organization string) (*remote, error) {
	r, err := c.connect(conf)
	if err != nil {
		return nil, err
	}
	r.user, r.password, r.organization = user, password, organization
	return r, nil
}

func (c *command) connect(conf config.Config) (*remote, error) {
	if conf.URL == "" {
		return nil, &remuda.Error{
			Code: remuda.CodePrecondition, Message: "no server is configured",
			Remedy: "set REMUDA_URL and REMUDA_TOKEN, or give --url and --token; `remuda serve` runs a server, `remuda run` works without one",
		}
	}
	cl, err := client.New(conf.URL, conf.Token, client.WithUserAgent("remuda/"+c.Version))
	if err != nil {
		return nil, usageError("%s", "write it like http://127.0.0.1:8080", err)
	}
	return &remote{Client: cl}, nil
}

// remotely is a command that does its work on the server that the settings name.
func (c *command) remotely(do func(ctx context.Context, r *remote, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		r, err := c.remote()
		if err != nil {
			return err
		}
		return do(cmd.Context(), r, args)
	}
}

// each does the same to every one of refs, also when it fails for some: all
// errors are reported.
func each(refs []string, do func(ref string) error) error {
	failed := make([]error, 0, len(refs))
	for _, ref := range refs {
		failed = append(failed, do(ref))
	}
	return errors.Join(failed...)
}

// CreateToken makes a token with the password, if there is one.
func (r *remote) CreateToken(ctx context.Context, in api.TokenCreate) (api.TokenCreated, error) {
	if r.user != "" {
		return r.CreateTokenBasic(ctx, r.user, r.password, r.organization, in)
	}
	return r.Client.CreateToken(ctx, in)
}

// pages gathers a whole list, or its first most items; most 0 is all.
func pages[T any](most int, get func(client.Page) ([]T, *string, error)) ([]T, error) {
	const limit = 200
	all := []T{}
	page := client.Page{Limit: limit}
	if most > 0 {
		page.Limit = min(limit, most)
	}
	for {
		items, next, err := get(page)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if most > 0 && len(all) >= most {
			return all[:most], nil
		}
		if next == nil || *next == "" {
			return all, nil
		}
		page.Cursor = *next
	}
}

func (r *remote) allRuntimes(ctx context.Context, name string) ([]api.Runtime, error) {
	return pages(0, func(p client.Page) ([]api.Runtime, *string, error) {
		l, err := r.ListRuntimes(ctx, name, p)
		return l.Items, l.Next, err
	})
}

func (r *remote) allRunspaces(ctx context.Context) ([]api.Runspace, error) {
	return pages(0, func(p client.Page) ([]api.Runspace, *string, error) {
		l, err := r.ListRunspaces(ctx, p)
		return l.Items, l.Next, err
	})
}

func (r *remote) allTokens(ctx context.Context) ([]api.Token, error) {
	return pages(0, func(p client.Page) ([]api.Token, *string, error) {
		l, err := r.ListTokens(ctx, p)
		return l.Items, l.Next, err
	})
}

func (r *remote) allUsers(ctx context.Context) ([]api.User, error) {
	return pages(0, func(p client.Page) ([]api.User, *string, error) {
		l, err := r.ListUsers(ctx, p)
		return l.Items, l.Next, err
	})
}

func (r *remote) allOrganizations(ctx context.Context) ([]api.Organization, error) {
	return pages(0, func(p client.Page) ([]api.Organization, *string, error) {
		l, err := r.ListOrganizations(ctx, p)
		return l.Items, l.Next, err
	})
}

func (r *remote) someExecutions(ctx context.Context, f client.ExecutionFilter, most int) ([]api.Execution, error) {
	return pages(most, func(p client.Page) ([]api.Execution, *string, error) {
		l, err := r.ListExecutions(ctx, f, p)
		return l.Items, l.Next, err
	})
}

// findRuntime takes an id or a name.
func (r *remote) findRuntime(ctx context.Context, ref string) (api.Runtime, error) {
	if ref == "" {
		return api.Runtime{}, usageError("the name of a runtime is empty", "`remuda get` lists those that there are")
	}
	return r.GetRuntime(ctx, ref)
}

// findRunspace takes an id, or the name of an open runspace.
func (r *remote) findRunspace(ctx context.Context, ref string) (api.Runspace, error) {
	if remuda.IsID(remuda.PrefixRunspace, ref) {
		return r.GetRunspace(ctx, ref, 0)
	}
	all, err := r.allRunspaces(ctx)
	if err != nil {
		return api.Runspace{}, err
	}
	for _, rs := range all {
		if rs.Name == ref && !remuda.RunspaceState(rs.State).Final() {
			return rs, nil
		}
	}
	return api.Runspace{}, &remuda.Error{
		Code: remuda.CodeNotFound, Message: fmt.Sprintf("no open runspace %q", ref),
		Remedy: "`remuda runspace list` names the open ones, `remuda runspace create` opens one",
	}
}

// openRunspace makes a runspace and waits until it is ready or has failed.
func (r *remote) openRunspace(ctx context.Context, req api.RunspaceCreate) (api.Runspace, error) {
	rs, err := r.CreateRunspace(ctx, req, time.Minute)
	for err == nil && rs.State == api.RunspaceState(remuda.RunspaceCreating) {
		rs, err = r.GetRunspace(ctx, rs.Id, time.Minute)
	}
	return rs, err
}

// resetRunspace waits as openRunspace does.
func (r *remote) resetRunspace(ctx context.Context, id string, in api.RunspaceReset) (api.Runspace, error) {
	rs, err := r.ResetRunspace(ctx, id, in, time.Minute)
	for err == nil && rs.State == api.RunspaceState(remuda.RunspaceCreating) {
		rs, err = r.GetRunspace(ctx, id, time.Minute)
	}
	return rs, err
}

// followBuild shows the build of a runtime's current generation whenever something
// of it has changed, until it has ended.
func (r *remote) followBuild(ctx context.Context, rt api.Runtime, show func(api.Runtime, api.Build)) error {
	b, err := r.FollowBuild(ctx, rt.Id, rt.Generation, 0, nil, func(b api.Build) error {
		show(rt, b)
		return nil
	})
	if err == nil {
		show(rt, b)
	}
	return err
}

// endOfLog is the last lines of a build's log.
func (r *remote) endOfLog(ctx context.Context, id string, generation, most int) ([]string, error) {
	var text []byte
	for after := int64(0); ; {
		page, err := r.GetBuildLog(ctx, id, generation, after, 0, 0)
		if err != nil {
			return nil, err
		}
		for _, rec := range page.Records {
			text = append(text, client.Bytes(rec)...)
		}
		if len(page.Records) == 0 || page.Ended {
			break
		}
		after = page.Next
	}
	list := lines(string(text))
	return list[max(0, len(list)-most):], nil
}

// output gives every record to sink and returns what is said about the whole.
func (r *remote) output(ctx context.Context, id string, after int64, follow bool, sink func(api.OutputRecord) error) (api.OutputPage, error) {
	if follow {
		next := after
		ex, err := r.Follow(ctx, id, after, func(rec api.OutputRecord) error {
			next = rec.Seq
			return sink(rec)
		})
		return api.OutputPage{Records: []api.OutputRecord{}, Next: next, CutBytes: ex.OutputCutBytes, Truncated: ex.OutputCutBytes > 0, Ended: err == nil}, err
	}
	for {
		page, err := r.GetOutput(ctx, id, after, 0, 0)
		if err != nil {
			return page, err
		}
		for _, rec := range page.Records {
			if err := sink(rec); err != nil {
				return page, err
			}
		}
		if len(page.Records) == 0 || page.Ended {
			page.Records = []api.OutputRecord{}
			return page, nil
		}
		after = page.Next
	}
}

// describeRemote turns what the client reports into a problem.
func describeRemote(err error) (problem, bool) {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		out := problem{Code: remuda.Code(p.Code), Title: p.Title, Cause: deref(p.Cause), Remedy: deref(p.Remedy), RequestID: p.RequestId}
		for _, f := range p.Fields {
			out.Fields = append(out.Fields, remuda.FieldError{Field: f.Field, Message: f.Message})
		}
		return out, true
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		p := problem{Code: remuda.CodeUnavailable, Title: "cannot reach the server", Cause: u.Err.Error(), Remedy: "check REMUDA_URL, and whether the server runs there"}
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
			p.Title += " at " + op.Addr.String()
		}
		if errors.Is(err, context.DeadlineExceeded) || u.Timeout() {
			p.Code = remuda.CodeDeadline
		}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			p.Title = "the server's certificate is not trusted"
			p.Remedy = "if the authority that signed it is your own, name its certificate in SSL_CERT_FILE"
		}
		return p, !errors.Is(err, context.Canceled)
	}
	return problem{}, false
}

// runRemote runs the script on the server, on a runtime or in a runspace.
func (c *command) runRemote(ctx context.Context, conf config.Config, runtime, runspace string, s *script) error {
	r, err := c.remoteOf(conf)
	if err != nil {
		return err
	}
	ex, err := r.submit(ctx, runtime, runspace, s)
	if err != nil {
		return canceledOr(ctx, err)
	}
	out := c.newOutput()
	// The first signal cancels the execution; its output and its end are still
	// followed, until the second one.
	follow, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		r.cancelWith(ctx, c.hurry, ended, stop, ex.Id)
	}()
	final, err := r.Follow(follow, ex.Id, 0, func(rec api.OutputRecord) error { return out.sink(recordOf(rec)) })
	close(ended)
	<-watched
	if err != nil {
		return canceledOr(ctx, err)
	}
	return c.conclude(final, out, nil)
}

func canceledOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return canceledStatus(ctx)
	}
	return err
}

// cancelWith cancels the execution when ctx is done, and stops following it when
// hurry closes or the server cannot be told.
func (r *remote) cancelWith(ctx context.Context, hurry, ended <-chan struct{}, stop func(), id string) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	tell, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	if _, err := r.CancelExecution(tell, id); err != nil && !client.IsCode(err, string(remuda.CodeConflict)) {
		stop()
		return
	}
	select {
	case <-ended:
	case <-hurry:
		stop()
	}
}

// submit sends the script and does not wait for its end.
func (r *remote) submit(ctx context.Context, runtime, runspace string, s *script) (api.Execution, error) {
	in := api.ExecutionCreate{
		Runtime: runtime, Args: s.args, Parameters: s.parameters, StdinBase64: s.stdin, Name: optional(s.title), Streams: optional(s.streams), Objects: optional(s.objects),
	}
	if s.codeFile != "" {
		in.CodeFile = &s.codeFile
	} else {
		in.Script = &s.text
	}
	if len(s.env) > 0 {
		in.Env = s.env
	}
	if s.timeout > 0 {
		t := s.timeout.Seconds()
		in.TimeoutS = &t
	}
	for _, f := range s.files {
		in.Files = append(in.Files, api.FileCreate{Path: f.Path, ContentBase64: f.Content})
	}
	if s.subject != "" {
		in.Identity = &api.Identity{Subject: &s.subject}
	}
	if runspace == "" {
		in.Egress = s.egress
		if l := s.limits; l != (remuda.Resources{}) {
			in.Limits = &api.ResourcesUpdate{Cpu: optional(l.CPU), MemoryMb: optional(l.MemoryMB), DiskMb: optional(l.DiskMB), Pids: optional(l.Pids)}
		}
		return r.CreateExecution(ctx, in, 0)
	}
	return r.CreateRunspaceExecution(ctx, runspace, api.RunspaceExecutionCreate{
		Args: in.Args, Parameters: in.Parameters, StdinBase64: in.StdinBase64, CodeFile: in.CodeFile, Script: in.Script,
		Env: in.Env, TimeoutS: in.TimeoutS, Files: in.Files, Identity: in.Identity,
		Name: in.Name, Streams: in.Streams, Objects: in.Objects, Queue: optional(s.queue), ParameterScripts: s.scripts,
	}, 0)
}
