package mcp

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// Listed is what one server lists.
type Listed struct {
	Server string
	Tools  []tool.Tool
}

// LongName returns the name of a tool with its server's name before it.
func LongName(server, name string) string { return localName(server+"_", name) }

// Unique returns the tools of several servers, each under a name of its own. A
// tool whose name another server, or reserved, has gets its server's name before
// it, and so do all servers' tools of that name: which server lists first does not
// matter. known reports whether a name was a server's before; a tool that once had
// its server's name keeps it while the other server is away.
func Unique(servers []Listed, reserved func(name string) bool, known func(name, server string) bool) []tool.Tool {
	times := map[string]int{}
	for _, s := range servers {
		for _, t := range s.Tools {
			times[t.Spec().Name]++
		}
	}
	taken := map[string]bool{}
	renames := func(server, name string) bool {
		return times[name] > 1 || reserved(name) || len(servers) > 1 && known(LongName(server, name), server)
	}
	for _, s := range servers {
		for _, t := range s.Tools {
			if name := t.Spec().Name; !renames(s.Server, name) {
				taken[name] = true
			}
		}
	}
	var all []tool.Tool
	for _, s := range servers {
		for _, t := range s.Tools {
			name := t.Spec().Name
			if renames(s.Server, name) {
				local := LongName(s.Server, name)
				if taken[local] || reserved(local) {
					local = fmt.Sprintf("%s_%x", local[:min(len(local), maxName-9)], sha256.Sum256([]byte(s.Server+"/"+name)))
					local = local[:min(len(local), maxName)]
				}
				if taken[local] {
					continue // the same name of the same server twice, which tools has refused
				}
				taken[local] = true
				t = &named{t, local}
			}
			all = append(all, t)
		}
	}
	return slices.Clip(all)
}

// Renamed returns the name that a server gave a tool of [Unique]; empty if it has it.
func Renamed(t tool.Tool) string {
	if n, ok := t.(*named); ok {
		return n.Tool.Spec().Name
	}
	return ""
}

// named is a tool under another name.
type named struct {
	tool.Tool
	name string
}

// Spec implements [tool.Tool].
func (n *named) Spec() events.ToolSpec {
	spec := n.Tool.Spec()
	spec.Name = n.name
	return spec
}

// Run implements [tool.Tool].
func (n *named) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	return n.Tool.Run(ctx, in)
}
