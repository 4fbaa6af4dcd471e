package secret

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
)

// Handler returns a handler that redacts messages and attributes for another one.
func (s *Set) Handler(next slog.Handler) slog.Handler { return &handler{next, s} }

type handler struct {
	next slog.Handler
	set  *Set
}

// Enabled implements [slog.Handler].
func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// WithGroup implements [slog.Handler].
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.next.WithGroup(name), h.set}
}

// WithAttrs implements [slog.Handler].
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return &handler{h.next.WithAttrs(clean), h.set}
}

// Handle implements [slog.Handler].
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.set.Message(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (h *handler) attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, h.set.Message(v.String()))
	case slog.KindGroup:
		group := v.Group()
		clean := make([]any, len(group))
		for i := range group {
			clean[i] = h.attr(group[i])
		}
		return slog.Group(a.Key, clean...)
	case slog.KindAny:
		return h.value(a.Key, v.Any())
	}
	return slog.Attr{Key: a.Key, Value: v}
}

// value redacts a value of any type: where its text or its JSON changes, the changed
// text takes its place.
func (h *handler) value(key string, v any) slog.Attr {
	text := fmt.Sprintf("%+v", v)
	if clean := h.set.Message(text); clean != text {
		return slog.String(key, clean)
	}
	if raw, err := json.Marshal(v); err == nil {
		if clean := h.set.Message(string(raw)); clean != string(raw) {
			return slog.String(key, clean)
		}
	}
	return slog.Any(key, v)
}
