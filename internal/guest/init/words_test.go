package guestinit

import (
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

// The words must stay those of package remuda.
func TestWords(t *testing.T) {
	t.Parallel()
	for ours, theirs := range map[string]string{
		languageBash: string(remuda.LanguageBash), languageNode: string(remuda.LanguageNode), stateSuccess: string(remuda.ExecutionSuccess), stateError: string(remuda.ExecutionError),
		stateTimeout: string(remuda.ExecutionTimeout), stateCanceled: string(remuda.ExecutionCanceled), stateLost: string(remuda.ExecutionLost),
		killedByNothing: string(remuda.KilledByNothing), killedByTime: string(remuda.KilledByTime), killedByPids: string(remuda.KilledByPids), killedByOutput: string(remuda.KilledByOutput),
		killedByCancel: string(remuda.KilledByCancel), killedByPolicy: string(remuda.KilledByPolicy),
		codeInvalid: string(remuda.CodeInvalid), codeNotFound: string(remuda.CodeNotFound), codeTooLarge: string(remuda.CodeTooLarge),
		codeExhausted: string(remuda.CodeExhausted), codeInternal: string(remuda.CodeInternal),
	} {
		if ours != theirs {
			t.Errorf("%q is %q in package remuda", ours, theirs)
		}
	}
	if defaultOutputLimit != remuda.DefaultOutputLimit {
		t.Errorf("the output limit is %d in package remuda", remuda.DefaultOutputLimit)
	}
}
