package api

import "log/slog"

// String implements fmt.Stringer: credentials show nothing when they are printed
// or logged, here as in a struct that has them.
func (Credentials) String() string { return "[credentials]" }

// GoString implements fmt.GoStringer.
func (Credentials) GoString() string { return "[credentials]" }

// LogValue implements slog.LogValuer.
func (Credentials) LogValue() slog.Value { return slog.StringValue("[credentials]") }
