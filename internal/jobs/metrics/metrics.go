// Package metrics counts jobs for Prometheus, by Watermill's component: how long
// they ran and whether they were handed back, by queue.
package metrics

import (
	"github.com/ThreeDotsLabs/watermill/components/metrics"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/parleybus/parley/internal/jobs"
)

// Prometheus returns metrics that are registered with r, once for all pools of a
// process: the histogram parley_jobs_handler_execution_time_seconds, labelled
// with the queue (handler_name) and success, and the counter
// parley_jobs_subscriber_messages_received_total, labelled with the queue and
// acked ("acked" or "nacked": handed back).
func Prometheus(r prometheus.Registerer) jobs.Metrics {
	builder := metrics.NewPrometheusMetricsBuilder(r, "parley", "jobs")
	// From a tool that looks something up to an answer that takes half an hour, in
	// seconds.
	builder.HandlerBuckets = []float64{0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800}
	return jobs.Metrics{Subscriber: builder.DecorateSubscriber, Handler: builder.NewRouterMiddleware().Middleware}
}
