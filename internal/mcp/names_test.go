package mcp_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
)

// stub is a tool with a name.
type stub struct{ server, name string }

func (s stub) Spec() events.ToolSpec { return events.ToolSpec{Name: s.name, Server: s.server} }

func (s stub) Run(context.Context, tool.Input) (tool.Result, error) {
	return tool.Result{Content: s.server + "/" + s.name}, nil
}

func lists(server string, names ...string) mcp.Listed {
	l := mcp.Listed{Server: server}
	for _, name := range names {
		l.Tools = append(l.Tools, stub{server, name})
	}
	return l
}

func TestToolsOfOneNameGetTheirServersName(t *testing.T) {
	long := strings.Repeat("n", 64)
	cases := []struct {
		what     string
		servers  []mcp.Listed
		reserved string
		known    map[string]string
		want     string // NAME=SERVER/TOOL
	}{
		{"names of their own", []mcp.Listed{lists("one", "a"), lists("two", "b")}, "", nil, "a=one/a b=two/b"},
		{"one name of two", []mcp.Listed{lists("one", "search", "a"), lists("two", "search")}, "", nil, "one_search=one/search a=one/a two_search=two/search"},
		{"the name of a tool of the worker", []mcp.Listed{lists("one", "now")}, "now", nil, "one_now=one/now"},
		{"a name that was its server's, the other server is away", []mcp.Listed{lists("one"), lists("two", "search")}, "", map[string]string{"two_search": "two"}, "two_search=two/search"},
		{"a name that was another server's", []mcp.Listed{lists("one"), lists("two", "search")}, "", map[string]string{"two_search": "three"}, "search=two/search"},
		{"a server alone", []mcp.Listed{lists("two", "search")}, "", map[string]string{"two_search": "two"}, "search=two/search"},
	}
	for _, c := range cases {
		for range 2 {
			var got []string
			for _, one := range mcp.Unique(c.servers, func(name string) bool { return name == c.reserved }, func(name, server string) bool { return c.known[name] == server }) {
				result, err := one.Run(t.Context(), tool.Input{})
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, one.Spec().Name+"="+result.Content)
				if _, listed, _ := strings.Cut(result.Content, "/"); (mcp.Renamed(one) != "") != (one.Spec().Name != listed) {
					t.Errorf("%s: %s was renamed from %q", c.what, one.Spec().Name, mcp.Renamed(one))
				}
			}
			want := strings.Fields(c.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %v, want %v", c.what, got, want)
			}
			slices.Reverse(c.servers) // the order does not matter
		}
	}
	for _, servers := range [][]mcp.Listed{
		{lists("one", "search", "two_search"), lists("two", "search")},
		{lists(long, long), lists("two", long)},
		{lists("a", "b_c"), lists("a_b", "c"), lists("x", "b_c", "c")},
	} {
		total, seen := 0, map[string]bool{}
		for _, s := range servers {
			total += len(s.Tools)
		}
		for _, one := range mcp.Unique(servers, func(string) bool { return false }, func(string, string) bool { return false }) {
			name := one.Spec().Name
			if seen[name] || len(name) > 64 {
				t.Errorf("the name %q is there twice, or too long", name)
			}
			seen[name] = true
		}
		if len(seen) != total {
			t.Errorf("%d of %d tools: %v", len(seen), total, seen)
		}
	}
}
