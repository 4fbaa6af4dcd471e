package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/parleybus/parley/internal/secret"
)

// Health serves the liveness, readiness and metrics of a process.
type Health struct {
	ready    atomic.Pointer[func() error]
	required atomic.Pointer[func() error]
	draining atomic.Bool
	registry *prometheus.Registry
	// Secrets are removed from the reasons that /readyz gives; may be nil.
	Secrets *secret.Set
}

// NewHealth returns a Health that is not ready.
func NewHealth() *Health {
	h := &Health{registry: prometheus.NewRegistry()}
	h.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return h
}

// Ready sets the readiness check.
func (h *Health) Ready(check func() error) { h.ready.Store(&check) }

// Require sets a second check, which also applies before [Health.Ready].
func (h *Health) Require(check func() error) { h.required.Store(&check) }

// Draining makes the process permanently not ready.
func (h *Health) Draining() { h.draining.Store(true) }

// Count publishes a counter.
func (h *Health) Count(name, help string, n *atomic.Int64) {
	h.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "parley", Name: name, Help: help}, value(n)))
}

// Registry returns the registerer for a library's metrics.
func (h *Health) Registry() prometheus.Registerer { return h.registry }

// Gauge publishes a gauge.
func (h *Health) Gauge(name, help string, n *atomic.Int64) {
	h.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "parley", Name: name, Help: help}, value(n)))
}

func value(n *atomic.Int64) func() float64 { return func() float64 { return float64(n.Load()) } }

func (h *Health) check() error {
	if h.draining.Load() {
		return errors.New("draining")
	}
	if required := h.required.Load(); required != nil {
		if err := (*required)(); err != nil {
			return err
		}
	}
	check := h.ready.Load()
	if check == nil {
		return errors.New("starting")
	}
	return (*check)()
}

// Handler serves /healthz, /readyz and /metrics.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := h.check(); err != nil {
			http.Error(w, h.Secrets.Message(err.Error()), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.registry, promhttp.HandlerOpts{}))
	return mux
}

// Serve serves on addr until ctx ends. The listener is open when listening is
// called with its address.
func (h *Health) Serve(ctx context.Context, addr string, listening func(net.Addr)) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("serve health on %s (%w): give another --http address", addr, err)
	}
	listening(l.Addr())
	srv := &http.Server{Handler: h.Handler(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		done, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(done) != nil {
			_ = srv.Close() // closes connections that last longer than a second
		}
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health on %s: %w", addr, err)
	}
	return nil
}
