package oci

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Check implements engine.Engine. The findings are optional: a server starts
// without this class, and refuses runtimes that ask for it.
func (e *Engine) Check(ctx context.Context) []engine.Finding {
	version, err := e.version(ctx)
	findings := []engine.Finding{finding("runsc", version, err, installRunsc)}
	if err != nil {
		return findings
	}
	detail, err := e.checkSandbox(ctx)
	return append(findings, finding("gvisor sandbox", detail, err, "mend what the checks before name; if there is nothing, report this"))
}

func finding(name, detail string, err error, remedy string) engine.Finding {
	f := engine.Finding{Name: name, OK: err == nil, Detail: detail, Optional: true}
	if err != nil {
		f.Detail, f.Remedy = err.Error(), remedy
		if own, ok := errors.AsType[*remuda.Error](err); ok && own.Remedy != "" && own.Code != remuda.CodeInternal {
			f.Remedy = own.Remedy
		}
	}
	return f
}

// version asks the runtime for its own.
func (e *Engine) version(ctx context.Context) (string, error) {
	path, err := e.findRunsc()
	if err != nil {
		return "", err
	}
	const askTime = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env, cmd.Dir = []string{}, "/"
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return path + ", " + line, nil
}

// probeScripts do nothing.
var probeScripts = map[remuda.Language]string{
	remuda.LanguageBash: ":", remuda.LanguagePython: "pass", remuda.LanguageNode: "0",
}

// checkSandbox runs a script in a whole sandbox.
func (e *Engine) checkSandbox(ctx context.Context) (string, error) {
	language := remuda.Language("")
	for _, l := range []remuda.Language{remuda.LanguageBash, remuda.LanguagePython, remuda.LanguageNode} {
		if list, err := e.host.Versions(ctx, "", l); err == nil && len(list) > 0 {
			language = l
			break
		}
	}
	if language == "" {
		return "", errors.New("there is no interpreter to try it with")
	}
	begun := time.Now()
	inst, err := e.Create(ctx, engine.Spec{
		ID: remuda.NewInstanceID(), Language: language, Environment: remuda.EnvironmentHost,
		Resources: remuda.Resources{CPU: 1, MemoryMB: 256, DiskMB: 16, Pids: 64},
	})
	if err != nil {
		return "", err
	}
	took := time.Since(begun)
	res, err := inst.Execute(ctx, engine.Request{ID: remuda.NewExecutionID(), Script: probeScripts[language], Timeout: setupTime}, nil)
	if err := errors.Join(err, inst.Destroy(ctx)); err != nil {
		return "", err
	}
	if res.State != remuda.ExecutionSuccess {
		return "", fmt.Errorf("a script ended as %s: %s", res.State, res.Reason)
	}
	return fmt.Sprintf("a %s sandbox started in %d ms, ran a script and is gone", language, took.Milliseconds()), nil
}
