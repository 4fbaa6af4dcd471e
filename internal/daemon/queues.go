package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// queueCollector reads the state of the queues at each scrape, for autoscalers
// that do not read JetStream themselves.
type queueCollector struct {
	bus          *bus.Bus
	log          *slog.Logger
	lag, running *prometheus.Desc
}

const scrapeTimeout = 3 * time.Second

// Queues publishes the lag of every queue, by kind ("llm" or "tool") and name.
func (h *Health) Queues(b *bus.Bus, log *slog.Logger) {
	labels := []string{"kind", "name", "priority"}
	h.registry.MustRegister(&queueCollector{bus: b, log: log,
		lag:     prometheus.NewDesc("parley_queue_lag", "Jobs that no worker has taken.", labels, nil),
		running: prometheus.NewDesc("parley_queue_running", "Jobs that a worker has taken.", labels, nil)})
}

// Describe implements [prometheus.Collector].
func (q *queueCollector) Describe(out chan<- *prometheus.Desc) {
	out <- q.lag
	out <- q.running
}

// Collect implements [prometheus.Collector].
func (q *queueCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	queues, err := q.bus.Jobs().Queues(ctx)
	if err != nil {
		q.log.Warn("the queues cannot be read for /metrics", "error", err)
		return
	}
	for _, i := range queues {
		priority := events.PriorityNormal
		if i.Low {
			priority = events.PriorityLow
		}
		out <- prometheus.MustNewConstMetric(q.lag, prometheus.GaugeValue, float64(i.Lag), i.Kind, i.Name, string(priority))
		out <- prometheus.MustNewConstMetric(q.running, prometheus.GaugeValue, float64(i.Running), i.Kind, i.Name, string(priority))
	}
}
