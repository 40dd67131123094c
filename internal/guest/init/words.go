package guestinit

// The words of package remuda that this program says to the server. They are
// repeated here, and compared by a test, because linking that package (its ids
// need crypto/rand) would add a third to the start of every sandbox.
const (
	languageBash       = "bash"
	languageNode       = "node"
	defaultOutputLimit = 10 << 20

	stateSuccess  = "success"
	stateError    = "error"
	stateTimeout  = "timeout"
	stateCanceled = "canceled"
	stateLost     = "lost"

	killedByNothing = ""
	killedByTime    = "time"
	killedByPids    = "pids"
	killedByOutput  = "output"
	killedByCancel  = "cancel"
	killedByPolicy  = "policy"

	codeInvalid   = "invalid"
	codeNotFound  = "not_found"
	codeTooLarge  = "too_large"
	codeExhausted = "exhausted"
	codeInternal  = "internal"
)
