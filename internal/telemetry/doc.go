// Package telemetry holds the server's metrics: one registry, the few
// measurements an operator needs to see whether warm instances pay (hit rate,
// lease latency), what runs (executions and instances by state) and how much
// room is left (slots).
//
// It knows nothing of the services; they call its methods. Every method may be
// called on a nil *Metrics, so that a test or a tool needs none. Start with
// metrics.go. Traces and logs are not here.
package telemetry
