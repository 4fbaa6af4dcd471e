package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

func TestRegistryRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		tools []tool.Tool
		want  string
	}{
		{"a name twice", []tool.Tool{named{Name: "a"}, named{Name: "b"}, named{Name: "a"}}, "registered twice"},
		{"a name with a dot, which would be two tokens of a subject", []tool.Tool{named{Name: "a.b"}}, "letters, digits"},
		{"a name with a wildcard", []tool.Tool{named{Name: ">"}}, "letters, digits"},
		{"an empty name", []tool.Tool{named{}}, "letters, digits"},
		{"a name with a line end", []tool.Tool{named{Name: "a\n"}}, "letters, digits"},
		{"a name of 65 letters", []tool.Tool{named{Name: strings.Repeat("a", 65)}}, "letters, digits"},
		{"an unknown effect", []tool.Tool{named{Name: "a", Effect: "often"}}, "pure, idempotent or once"},
		{"a negative timeout", []tool.Tool{named{Name: "a", TimeoutMS: -1}}, "timeout_ms"},
		{"a schema that does not compile", []tool.Tool{named{Name: "a", Schema: json.RawMessage(`{"type": 7}`)}}, `tool "a"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := tool.New(c.tools...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestRegistry(t *testing.T) {
	r, err := tool.New(named{Name: "zebra"}, named{Name: "ant", Effect: events.EffectPure})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("specs are sorted and a tool that does not say runs once", func(t *testing.T) {
		specs := r.Specs()
		if len(specs) != 2 || specs[0].Name != "ant" || specs[1].Name != "zebra" || specs[1].Effect != events.EffectOnce {
			t.Fatalf("got %+v", specs)
		}
		specs[0].Name = "changed"
		if r.Specs()[0].Name != "ant" {
			t.Fatal("the caller's change reached the registry")
		}
	})
	t.Run("a name is looked up exactly", func(t *testing.T) {
		if _, ok := r.Lookup("Ant"); ok {
			t.Fatal("found Ant")
		}
		if it, ok := r.Lookup("ant"); !ok || it.Spec().Name != "ant" {
			t.Fatal("did not find ant")
		}
	})
}

func TestBuiltins(t *testing.T) {
	for _, c := range []struct {
		name   string
		config tool.Config
		want   string
	}{
		{"nothing that reaches out exists without configuration", tool.Config{}, "calculate now"},
		{"hosts bring http_get", tool.Config{AllowHosts: []string{"example.com"}}, "calculate http_get now"},
		{"a root brings read_file", tool.Config{Root: "."}, "calculate now read_file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var names []string
			for _, s := range builtins(t, c.config).Specs() {
				if names = append(names, s.Name); s.Description == "" || s.Effect != events.EffectPure || s.TimeoutMS <= 0 {
					t.Errorf("%+v", s)
				}
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Fatalf("got %s, want %s", got, c.want)
			}
		})
	}
	for _, c := range []struct {
		name   string
		config tool.Config
		want   string
	}{
		{"a root that is a file is refused", tool.Config{Root: "main_test.go"}, "must be a directory"},
		{"a root that does not exist is refused", tool.Config{Root: "nowhere"}, "must be a directory"},
		{"a host with a scheme is refused", tool.Config{AllowHosts: []string{"https://example.com"}}, "without scheme"},
		{"a host with an impossible port is refused", tool.Config{AllowHosts: []string{"example.com:99999"}}, "port"},
		{"an empty host is refused", tool.Config{AllowHosts: []string{" "}}, "write a host"},
		{"a star for everything is refused", tool.Config{AllowHosts: []string{"*"}}, "write a host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := tool.Builtins(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	down := errors.New("down")
	for _, c := range []struct {
		name   string
		err    error
		status events.Status
		retry  bool
		after  time.Duration
	}{
		{"no error is ok", nil, events.StatusOK, false, 0},
		{"a failure is failed and not tried again", tool.Fail("no"), events.StatusFailed, false, 0},
		{"what may pass is failed after the last try", tool.Retry(down, 3*time.Second), events.StatusFailed, true, 3 * time.Second},
		{"what may pass is found inside another error", fmt.Errorf("asking: %w", tool.Retry(down, 0)), events.StatusFailed, true, 0},
		{"any other error is failed", down, events.StatusFailed, false, 0},
		{"a deadline is a timeout", fmt.Errorf("x: %w", context.DeadlineExceeded), events.StatusTimeout, false, 0},
		{"a cancelled context is cancelled", context.Canceled, events.StatusCancelled, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			after, retry := tool.RetryAfter(c.err)
			if s := tool.StatusOf(c.err); s != c.status || retry != c.retry || after != c.after {
				t.Fatalf("got %s %v %s", s, retry, after)
			}
		})
	}
	if !errors.Is(tool.Retry(down, 0), down) {
		t.Fatal("the cause is lost")
	}
}

func TestBuiltinNamesAreThoseOfTheTools(t *testing.T) {
	t.Parallel()
	r, err := tool.Builtins(tool.Config{AllowHosts: []string{"example.com"}, Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range r.Specs() {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, tool.BuiltinNames()) {
		t.Errorf("the tools are %v", names)
	}
}
