package secret

import (
	"fmt"
	"log/slog"
)

// Redacted is what is shown instead of a secret.
const Redacted = "[redacted]"

// String is a secret text. Every common way of showing it gives Redacted.
type String string

// Reveal returns the text. Each call is a place to look at in a review.
func (s String) Reveal() string { return string(s) }

// String returns Redacted.
func (s String) String() string { return Redacted }

// GoString returns Redacted.
func (s String) GoString() string { return Redacted }

// Format writes Redacted for every verb, %x and %q among them.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// LogValue returns Redacted.
func (s String) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText returns Redacted, so that JSON and XML show nothing else.
func (s String) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
