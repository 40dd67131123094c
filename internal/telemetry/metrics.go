package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Metrics is a registry with the server's own measurements. Make it with New;
// a nil *Metrics takes every call and keeps nothing.
type Metrics struct {
	registry *prometheus.Registry

	leases        *prometheus.CounterVec
	leaseSeconds  *prometheus.HistogramVec
	starts        *prometheus.CounterVec
	deadWarm      prometheus.Counter
	destroyFailed prometheus.Counter
	executions    *prometheus.CounterVec
	running       *prometheus.GaugeVec
	stageSeconds  *prometheus.HistogramVec
}

// latencyBuckets reach from a warm lease (microseconds) to a slow cold start.
var latencyBuckets = []float64{
	.000_005, .000_02, .000_1, .000_25, .000_5, .001, .002_5, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60,
}

// New returns an empty set of metrics with the Go runtime's and the process's
// own collectors beside it.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		leases: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "remuda_pool_leases_total", Help: "Instances handed out: hit is a warm one, miss a cold start.",
		}, []string{"result"}),
		leaseSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "remuda_pool_lease_seconds", Help: "Time to get an instance, cold starts included.", Buckets: latencyBuckets,
		}, []string{"result"}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "remuda_instance_starts_total", Help: "Instances started, by purpose (warm, cold) and outcome (ok, failed).",
		}, []string{"purpose", "outcome"}),
		deadWarm: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "remuda_pool_dead_instances_total", Help: "Warm instances that were found dead before anybody used them.",
		}),
		destroyFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "remuda_instance_destroy_failures_total", Help: "Instances that could not be removed completely.",
		}),
		executions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "remuda_executions_total", Help: "Executions that ended, by end state and language.",
		}, []string{"state", "language"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "remuda_executions", Help: "Executions that have not ended, by state.",
		}, []string{"state"}),
		stageSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "remuda_execution_stage_seconds", Help: "Time of each stage of an execution.", Buckets: latencyBuckets,
		}, []string{"stage"}),
	}
	m.registry.MustRegister(m.leases, m.leaseSeconds, m.starts, m.deadWarm, m.destroyFailed, m.executions, m.running, m.stageSeconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.prime()
	return m
}

// prime makes every series of a closed list visible from the start, so that a
// rate over a fresh server is 0 and not absent.
func (m *Metrics) prime() {
	for _, result := range []string{"hit", "miss"} {
		m.leases.WithLabelValues(result)
		m.leaseSeconds.WithLabelValues(result)
	}
	for _, state := range []remuda.ExecutionState{remuda.ExecutionQueued, remuda.ExecutionRunning} {
		m.running.WithLabelValues(string(state))
	}
	for _, state := range []remuda.ExecutionState{
		remuda.ExecutionSuccess, remuda.ExecutionError, remuda.ExecutionTimeout, remuda.ExecutionCanceled, remuda.ExecutionLost,
	} {
		for _, language := range remuda.Languages() {
			m.executions.WithLabelValues(string(state), string(language))
		}
	}
}

// Registry is where other packages register collectors of their own.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Lease records that an instance was handed out.
func (m *Metrics) Lease(warm bool, took time.Duration) {
	if m == nil {
		return
	}
	result := "miss"
	if warm {
		result = "hit"
	}
	m.leases.WithLabelValues(result).Inc()
	m.leaseSeconds.WithLabelValues(result).Observe(took.Seconds())
}

// Start records that an instance was started, or could not be.
func (m *Metrics) Start(warm bool, err error) {
	if m == nil {
		return
	}
	purpose, outcome := "cold", "ok"
	if warm {
		purpose = "warm"
	}
	if err != nil {
		outcome = "failed"
	}
	m.starts.WithLabelValues(purpose, outcome).Inc()
}

// DeadWarm records that a warm instance was found dead.
func (m *Metrics) DeadWarm() {
	if m != nil {
		m.deadWarm.Inc()
	}
}

// DestroyFailed records that an instance could not be removed.
func (m *Metrics) DestroyFailed() {
	if m != nil {
		m.destroyFailed.Inc()
	}
}

// ExecutionMoved records a change of state of an execution. from is "" for a new
// one; a final state is counted, others are a gauge.
func (m *Metrics) ExecutionMoved(from, to remuda.ExecutionState, language remuda.Language) {
	if m == nil {
		return
	}
	if from != "" {
		m.running.WithLabelValues(string(from)).Dec()
	}
	if to.Final() {
		m.executions.WithLabelValues(string(to), string(language)).Inc()
		return
	}
	m.running.WithLabelValues(string(to)).Inc()
}

// Stages records how long the stages of an execution took.
func (m *Metrics) Stages(t remuda.Timings) {
	if m == nil {
		return
	}
	for stage, d := range t {
		m.stageSeconds.WithLabelValues(stage).Observe(d.Seconds())
	}
}

// InstanceCount is how many instances of a generation are in a state.
type InstanceCount struct {
	Generation remuda.GenerationKey
	State      remuda.InstanceState
	Count      int
}

// Slots says how many instances may exist and how many do.
type Slots struct {
	InUse    int
	Capacity int
}

// WatchInstances makes instances by state and the slots visible; snapshot is
// called at every scrape and must be cheap.
func (m *Metrics) WatchInstances(snapshot func() ([]InstanceCount, Slots)) {
	if m != nil {
		m.registry.MustRegister(&instances{snapshot: snapshot})
	}
}

// WatchRunspaces makes the open runspaces visible by state.
func (m *Metrics) WatchRunspaces(snapshot func() map[remuda.RunspaceState]int) {
	if m != nil {
		m.registry.MustRegister(&runspaces{snapshot: snapshot})
	}
}

var (
	instancesDesc = prometheus.NewDesc("remuda_instances", "Instances by state, runtime and generation.", []string{"state", "runtime", "generation"}, nil)
	inUseDesc     = prometheus.NewDesc("remuda_slots_in_use", "Instances that exist or are being made.", nil, nil)
	capacityDesc  = prometheus.NewDesc("remuda_slots_capacity", "Instances that may exist at the same time.", nil, nil)
	runspacesDesc = prometheus.NewDesc("remuda_runspaces", "Open runspaces by state.", []string{"state"}, nil)
)

type instances struct {
	snapshot func() ([]InstanceCount, Slots)
}

// Describe implements prometheus.Collector.
func (c *instances) Describe(ch chan<- *prometheus.Desc) {
	ch <- instancesDesc
	ch <- inUseDesc
	ch <- capacityDesc
}

// Collect implements prometheus.Collector.
func (c *instances) Collect(ch chan<- prometheus.Metric) {
	counts, slots := c.snapshot()
	for _, n := range counts {
		ch <- prometheus.MustNewConstMetric(instancesDesc, prometheus.GaugeValue, float64(n.Count),
			string(n.State), string(n.Generation.Runtime), strconv.Itoa(n.Generation.Number))
	}
	ch <- prometheus.MustNewConstMetric(inUseDesc, prometheus.GaugeValue, float64(slots.InUse))
	ch <- prometheus.MustNewConstMetric(capacityDesc, prometheus.GaugeValue, float64(slots.Capacity))
}

type runspaces struct {
	snapshot func() map[remuda.RunspaceState]int
}

// Describe implements prometheus.Collector.
func (c *runspaces) Describe(ch chan<- *prometheus.Desc) { ch <- runspacesDesc }

// Collect implements prometheus.Collector.
func (c *runspaces) Collect(ch chan<- prometheus.Metric) {
	counts := c.snapshot()
	for _, state := range []remuda.RunspaceState{remuda.RunspaceCreating, remuda.RunspaceReady, remuda.RunspaceActive} {
		ch <- prometheus.MustNewConstMetric(runspacesDesc, prometheus.GaugeValue, float64(counts[state]), string(state))
	}
}
