package chaos_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/topology"
)

// recovery is a fault at a moment of a turn, and what shows that work continues: in the
// turn itself, or with another for a message that is sent at the fault.
type recovery struct {
	name, text string
	at         func(parley.Event) bool
	next       func(at, e parley.Event) bool
	another    bool
	once       bool // the model must be asked once
	// strike is called once, with the event at which it is due.
	strike func(ctx context.Context, d *deployment, c *parley.Client, e parley.Event) error
}

// is reports whether an event has a body of a type.
func is[T any](e parley.Event) bool {
	_, ok := e.Body.(T)
	return ok
}

func recoveries(nodes int) []recovery {
	words, generation, call, decision := is[*parley.TextChunk], is[*parley.GenerationStarted], is[*parley.ToolStarted], is[*parley.Decision]
	some := func(is func(parley.Event) bool) func(at, e parley.Event) bool {
		return func(_, e parley.Event) bool { return is(e) }
	}
	again := func(at, e parley.Event) bool { // of the same call: others of the step may start
		before, _ := at.Body.(*parley.ToolStarted)
		next, is := e.Body.(*parley.ToolStarted)
		return is && next.Call == before.Call
	}
	worker := func(s syscall.Signal) func(context.Context, *deployment, *parley.Client, parley.Event) error {
		return func(_ context.Context, d *deployment, _ *parley.Client, e parley.Event) error {
			var name string
			switch e := e.Body.(type) {
			case *parley.GenerationStarted:
				name = e.Worker
			case *parley.ToolStarted:
				name = e.Worker
			}
			return d.signalNamed(name, s)
		}
	}
	owner := func(s syscall.Signal) func(context.Context, *deployment, *parley.Client, parley.Event) error {
		return func(ctx context.Context, d *deployment, c *parley.Client, _ parley.Event) error {
			owners, err := c.Owners(ctx)
			if err != nil {
				return err
			}
			return d.signalNamed(owners[0], s)
		}
	}
	all := []recovery{
		{"an llm-worker is killed: its generation's next attempt", "words", generation, some(generation), false, false, worker(syscall.SIGKILL)},
		{"an llm-worker is stopped: its generation's next attempt", "words", generation, some(generation), false, false, worker(syscall.SIGTERM)},
		{"a tool-worker is killed: its call's next attempt", "calls", call, again, false, false, worker(syscall.SIGKILL)},
		{"the orchestrator is killed: the next decision", "words", words, some(decision), true, false, owner(syscall.SIGKILL)},
		{"the orchestrator is stopped: the next decision", "words", words, some(decision), true, false, owner(syscall.SIGTERM)},
	}
	if nodes == 3 {
		all = append(all, recovery{"the leader of the log is killed: the next words of the same attempt", "words", words, some(words), false, true, killLeader})
	}
	return all
}

// killLeader kills the server that leads the log, for two seconds.
func killLeader(ctx context.Context, d *deployment, _ *parley.Client, _ parley.Event) error {
	b := directly(ctx, d.t, d)
	_, js := b.Raw()
	s, err := js.Stream(ctx, topology.ConvStream(0))
	if err != nil {
		return err
	}
	n := d.servers.cluster.Number(s.CachedInfo().Cluster.Leader)
	d.servers.cluster.Kill(n)
	d.running.Go(func() {
		d.sleep(2 * time.Second)
		d.servers.cluster.Serve(n)
	})
	return nil
}

// signalNamed sends a signal to the role with a name.
func (d *deployment) signalNamed(name string, s syscall.Signal) error {
	for n, role := range roles() {
		if strings.HasPrefix(name, fmt.Sprintf("%s-%d", role, n)) {
			d.role(n).signal(s)
			return nil
		}
	}
	return fmt.Errorf("no process is named %q", name)
}

// TestRecovery measures how long a turn stands still after a fault: PARLEY_ROUNDS (1)
// times each, on one server or, with PARLEY_NODES=3, on three. It prints the table of
// docs/reliability.md. Every turn must end completed; no time is asserted, machines are
// shared.
func TestRecovery(t *testing.T) {
	rounds, nodes := int(number(t, "PARLEY_ROUNDS", 1)), int(number(t, "PARLEY_NODES", 1))
	bin, dir := build(t), t.TempDir()
	write(t, dir)
	d := deploy(t, bin, dir, plan{Role: -1}, nodes)
	defer d.end()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rounds)*5*time.Minute)
	defer cancel()
	c := connect(ctx, t, d)
	defer c.Close()
	var table strings.Builder
	for _, r := range recoveries(nodes) {
		var took []time.Duration
		for range rounds {
			ready(ctx, t, c)
			still, attempts, err := r.measure(ctx, d, c)
			if err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
			if r.once && attempts != 1 {
				t.Errorf("%s: the model was asked %d times", r.name, attempts)
			}
			took = append(took, still)
		}
		slices.Sort(took)
		_, _ = fmt.Fprintf(&table, "| %s | %s | %s | %d |\n", r.name, seconds(took[len(took)/2]), seconds(took[len(took)-1]), len(took))
	}
	t.Logf("on %d server(s)\n\n| fault and what follows | median | longest | runs |\n| --- | --- | --- | --- |\n%s", nodes, table.String())
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// measure runs a turn, strikes, and returns the time until the turn moves on, and how
// often the model was asked.
func (r recovery) measure(ctx context.Context, d *deployment, c *parley.Client) (still time.Duration, attempts int, err error) {
	viewing, stop := context.WithCancel(ctx)
	var viewers sync.WaitGroup
	defer viewers.Wait()
	defer stop()
	begin := func() (*talk, error) {
		k := &talk{scenario: scenario{text: r.text}, conv: c.Conversation(parley.NewID())}
		viewers.Go(func() { k.view(viewing) })
		_, err := k.send(ctx)
		return k, err
	}
	k, err := begin()
	if err != nil {
		return 0, 0, err
	}
	at, seen, err := k.find(ctx, 0, r.at)
	if err != nil {
		return 0, 0, err
	}
	from := time.Now()
	if err := r.strike(ctx, d, c, at); err != nil {
		return 0, 0, err
	}
	moves := k
	if r.another {
		if moves, err = begin(); err != nil {
			return 0, 0, err
		}
		seen = 0
	}
	if _, _, err := moves.find(ctx, seen, func(e parley.Event) bool { return r.next(at, e) }); err != nil {
		return 0, 0, err
	}
	still = time.Since(from)
	for _, k := range []*talk{k, moves} {
		if _, _, err := k.find(ctx, 0, completed); err != nil {
			return 0, 0, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.seen {
		if is[*parley.GenerationStarted](e) {
			attempts++
		}
	}
	return still, attempts, nil
}

func completed(e parley.Event) bool {
	ended, is := e.Body.(*parley.TurnEnded)
	return is && ended.Outcome == parley.OutcomeCompleted
}

// find waits for an event behind the first so many that the viewer has seen, and
// returns how many it has seen then.
func (k *talk) find(ctx context.Context, behind int, is func(parley.Event) bool) (e parley.Event, seen int, err error) {
	err = k.until(ctx, func() bool {
		i := slices.IndexFunc(k.seen[behind:], is)
		if i >= 0 {
			e, seen = k.seen[behind+i], len(k.seen)
		}
		return i >= 0
	})
	return e, seen, err
}
