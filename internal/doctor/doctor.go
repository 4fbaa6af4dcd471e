// Package doctor checks a deployment: it finds the reasons why a question would
// not be answered, names the remedies, and applies those that lose no data.
//
// A check that reports ok was executed; a check that this user may not execute
// reports that.
package doctor

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/policy"
)

// Finding is the result of one check.
type Finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Says  string `json:"says"`
	Fixed string `json:"fixed,omitempty"` // the applied remedy
}

// Examination configures the checks.
type Examination struct {
	Bus   *bus.Bus
	Where string // name of the server for people
	// Alone: no other process uses the server now. A command that asks a
	// question runs the orchestrator and the workers in its own process.
	Alone bool
	// Fix applies the remedies that lose no data.
	Fix bool
	// Dir is the data directory of the embedded server, if it is on this machine.
	Dir string
	// Rules are the deployment's rules, if this process knows them.
	Rules policy.Defaults
	// Providers are those that are configured in this process.
	Providers []string
	// Servers are the MCP servers configured in this process.
	Servers []*mcp.Server
	// Tolerance bounds what counts as ok.
	Tolerance Tolerance
}

// Tolerance bounds what counts as ok.
type Tolerance struct {
	ClockSkew  time.Duration // between this machine and the server
	HistoryLag time.Duration // of HISTORY behind CONV
	Overdue    time.Duration // of an answer or a timer
	FreeBytes  uint64        // on the disk of the data directory
}

// DefaultTolerance is what `parley doctor` uses.
func DefaultTolerance() Tolerance {
	return Tolerance{ClockSkew: time.Second, HistoryLag: 5 * time.Second, Overdue: 2 * time.Minute, FreeBytes: 100 << 20}
}

const (
	longestTurn  = 15 * time.Minute // unless the conversation's Settings set another limit
	fullPercent  = 90               // of the storage of the account
	checkTimeout = 20 * time.Second
	catchUp      = 10 * time.Second // of HISTORY, once its sources are repaired
)

// check is one check, and whether it is not to be made.
type check struct {
	name string
	make func(context.Context) (says, fixed string, err error)
	skip bool
}

// Run executes every check, in an order in which the first failure is the most
// likely cause of the later ones, and yields each result as soon as it is known: a
// check of a server that does not answer takes up to 20 s.
func (x *Examination) Run(ctx context.Context) iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		for _, c := range x.checks() {
			if !c.skip && !yield(c.run(ctx)) {
				return
			}
		}
	}
}

func (x *Examination) checks() []check {
	return []check{
		{"server", x.server, false},
		{"streams", x.streams, false},
		{"disk", x.disk, false},
		{"writes", x.writes, false},
		{"clock", x.clock, false},
		{"replicas", x.replicas, false},
		{"history", x.history, false},
		{"orchestrator", x.orchestrator, x.Alone},
		{"workers", x.workers, false},
		{"versions", x.versions, false},
		{"pools", x.pools, len(x.Rules.Pools) == 0},
		{"queues", x.queues, x.Alone},
		{"tools", x.tools, x.Alone},
		{"timers", x.timers, false},
		{"stuck", x.stuck, x.Alone},
		{"mcp", x.mcp, len(x.Servers) == 0},
	}
}

func (c *check) run(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	says, fixed, err := c.make(ctx)
	f := Finding{Check: c.name, OK: err == nil, Says: says, Fixed: fixed}
	switch {
	case bus.Denied(err):
		f.OK, f.Says = true, "not examined: this user may not"
	case err != nil:
		f.Says = err.Error()
	}
	return f
}

func (x *Examination) server(ctx context.Context) (says, fixed string, err error) {
	began := time.Now()
	if err := x.Bus.Ping(ctx); err != nil {
		return "", "", err
	}
	return fmt.Sprintf("%s answers in %s, %d shards", x.Where, time.Since(began).Round(100*time.Microsecond), x.Bus.Shards()), "", nil
}
