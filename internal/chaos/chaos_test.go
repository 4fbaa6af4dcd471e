package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// number reads a variable of the environment, or returns what is usual.
func number(t *testing.T, name string, usual uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// build builds the binaries with the moments at which they are struck. Those of
// PARLEY_BIN are built already. With PARLEY_CLOCKS their clocks can be made wrong.
func build(t *testing.T, tags ...string) string {
	t.Helper()
	if bin := os.Getenv("PARLEY_BIN"); bin != "" {
		return bin
	}
	bin := t.TempDir()
	roles := []string{"build", "-tags", strings.Join(append(tags, "faultpoints"), ","), "-o", bin + string(filepath.Separator)}
	if clocksJump() {
		roles = append(roles, "-overlay", overlay(t))
	}
	for _, args := range [][]string{
		append(roles, "../../cmd/orchestrator", "../../cmd/llm-worker", "../../cmd/tool-worker", "./viewer"),
		{"build", "-o", bin + string(filepath.Separator), "github.com/nats-io/nats-server/v2"},
	} {
		if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return bin
}

// TestSeeds runs PARLEY_SEEDS seeds (3), from PARLEY_FIRST_SEED (0), on one server and,
// with PARLEY_NODES=3, on three. PARLEY_FINISHED names a file of the seeds that have
// passed: they are not run again, so that a long run can be stopped and continued.
func TestSeeds(t *testing.T) {
	seeds, first, nodes := number(t, "PARLEY_SEEDS", 3), number(t, "PARLEY_FIRST_SEED", 0), int(number(t, "PARLEY_NODES", 1))
	bin := build(t)
	done := readFinished(t, os.Getenv("PARLEY_FINISHED"), nodes)
	m := matrix{}
	for seed := first; seed < first+seeds; seed++ {
		if before, is := done.seeds[seed]; is {
			m.add(before)
			continue
		}
		took := matrix{}
		ok := t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { run(t, bin, planOf(seed), nodes, took) })
		m.add(took)
		if ok {
			done.add(t, seed, took)
		}
		if !ok && os.Getenv("PARLEY_SEEDS") == "" {
			break
		}
	}
	t.Logf("%d seeds from %d on %d server(s)\n%s", seeds, first, nodes, m.report(nodes))
	if left := m.uncovered(nodes); seeds >= enoughRounds*cells() && len(left) > 0 {
		t.Errorf("in %d seeds these faults never took place: %s", seeds, strings.Join(left, ", "))
	}
}

// run plays a plan and checks what it left.
func run(t *testing.T, bin string, p plan, nodes int, m matrix) {
	dir := t.TempDir()
	write(t, dir)
	d := deploy(t, bin, dir, p, nodes)
	defer func() {
		if t.Failed() {
			keep(t, p, dir)
		}
	}()
	defer d.end()
	// A run takes 5 to 20 s; whatever has not ended after a minute never will.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := connect(ctx, t, d)
	defer c.Close()
	ready(ctx, t, c)
	viewing, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	direct := directly(ctx, t, d)
	before := d.firstFootprint(ctx, direct)
	w := newWitness(t, direct)
	others.Go(func() { w.watch(viewing) })
	others.Go(func() { w.watchLeases(viewing) })
	others.Go(func() { approve(viewing, c) })
	talks, errs := make([]*talk, len(p.Begin)), make([]error, len(p.Begin))
	start := time.Now()
	d.disturb(start)
	var sending sync.WaitGroup
	for i, s := range scenarios() {
		id := d.ids[i]
		k := &talk{scenario: s, id: id, conv: c.Conversation(id), bus: direct, fake: d.fake, store: p.Store}
		talks[i] = k
		others.Go(func() { k.view(viewing) })
		sending.Go(func() {
			if d.sleep(time.Until(start.Add(p.Begin[i]))) {
				errs[i] = k.run(ctx, p.Cancel)
			}
		})
	}
	sending.Wait()
	took := time.Since(start)
	ctx = t.Context() // the checks have bounds of their own
	var v violations
	for i, k := range talks {
		if errs[i] != nil {
			check := "end"
			if errors.Is(errs[i], errSettingLost) {
				check = "settings"
			}
			k.mu.Lock()
			v.add(check, "%s %s: %v; its viewer saw %d events, and was interrupted last by %v", k.name, k.id, errs[i], len(k.seen), k.broke)
			k.mu.Unlock()
			t.Logf("%s %s has %s; %s", k.name, k.id, k.outline(ctx), queues(ctx, direct))
		}
		v.check(ctx, c, k, w, errs[i] == nil)
	}
	v.checkJobs(w)
	v.checkLedger(ledger(t, dir))
	for n, role := range roles() {
		if k := talks[max(viewed(n), 0)]; role == "viewer" && !p.Store.partial() && errs[viewed(n)] == nil {
			v.checkProcess(ctx, c, k, d.seen(n))
		}
	}
	if len(v) == 0 { // what did not end is left
		v.checkNothingIsLeft(ctx, direct)
		now := v.checkFlat(ctx, c, d, direct, before)
		t.Logf("before %v, at the end %v", before, now)
	}
	m.take(p, d)
	for _, one := range v {
		t.Errorf("violation of %s", one)
	}
	t.Logf("%s: %s", took.Round(time.Millisecond), p)
}

// connect connects to the servers, which may not run yet.
func connect(ctx context.Context, t *testing.T, d *deployment) (c *parley.Client) {
	t.Helper()
	err := patiently(ctx, func(ctx context.Context) (err error) {
		c, err = parley.Connect(ctx, parley.Config{URL: d.servers.url(0)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ready waits until the model and all tools are offered: what is asked before has
// another answer.
func ready(ctx context.Context, t *testing.T, c *parley.Client) {
	t.Helper()
	err := patiently(ctx, func(ctx context.Context) error {
		offers, err := c.Offers(ctx)
		workers := map[string]bool{}
		for _, o := range offers {
			workers[o.Worker] = true
		}
		if err == nil && (len(parley.ToolsIn(offers)) < 4 || len(parley.Models(offers)) < 2 || len(workers) < 4) {
			err = errors.New("not all is offered yet")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func directly(ctx context.Context, t *testing.T, d *deployment) *bus.Bus {
	t.Helper()
	var b *bus.Bus
	err := patiently(ctx, func(ctx context.Context) (err error) {
		b, err = bus.Connect(ctx, bus.Config{URL: d.servers.url(0)}, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// keep copies the logs of a run that failed, and says how to run it again.
func keep(t *testing.T, p plan, dir string) {
	to := filepath.Join(os.TempDir(), fmt.Sprintf("parley-chaos-%d", p.Seed))
	_ = os.RemoveAll(to) // of the run before
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Log(err)
	}
	t.Logf("the logs are in %s; run it again: PARLEY_SEEDS=1 PARLEY_FIRST_SEED=%d go test -v -run TestSeeds ./internal/chaos\n%s", to, p.Seed, p)
}
