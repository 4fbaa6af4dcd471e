package bus_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/topology"
)

// rivals are two tenants of one server with users, streams and a conversation of
// the same names. The first attacks the second.
type rivals struct {
	*testing.T
	from, victim *governed
	conversation string
	admin        *nats.Conn // the victim's
	job          *nats.Msg  // a job that a worker of the victim has taken
}

func newRivals(t *testing.T) *rivals {
	t.Helper()
	shared := brokertest.StartShared(t)
	r := &rivals{T: t, from: govern(t, shared.Tenant(tenant("acme"))), victim: govern(t, shared.Tenant(tenant("globex"))), conversation: id()}
	for _, g := range []*governed{r.from, r.victim} {
		send(t, g.as("app"), r.conversation, "hello")
	}
	boss := r.victim.as("orchestrator")
	decide(t, boss, r.conversation, 0, "o")
	for _, g := range []*governed{r.from, r.victim} {
		q, err := topology.ToolQueue("clock")
		if err == nil {
			err = g.as("orchestrator").Jobs().EnsureQueue(t.Context(), q)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	copied(t, r.victim.as("admin"), 2)
	r.admin, _ = r.victim.Connect(t, "admin")
	if _, err := r.admin.Request("jobs.tool.clock."+id(), []byte(`{"type":"ToolJob"}`), time.Minute); err != nil {
		t.Fatal(err)
	}
	worker, _ := r.victim.Connect(t, "tool-worker")
	var err error
	if r.job, err = worker.Request(topology.RoleAPI+"CONSUMER.MSG.NEXT.JOBS.tool_clock", []byte(`{"batch":1,"expires":9000000000}`), time.Minute); err != nil || r.job.Reply == "" {
		t.Fatalf("%v %v", r.job, err)
	}
	return r
}

// holds is everything that the victim's streams and the queue of its tool hold.
func (r *rivals) holds() string {
	r.Helper()
	var text strings.Builder
	var streams struct{ Streams []jetstream.StreamInfo }
	var queue jetstream.ConsumerInfo
	for subject, into := range map[string]any{"STREAM.LIST": &streams, "CONSUMER.INFO.JOBS.tool_clock": &queue} {
		m, err := r.admin.Request(topology.API+subject, nil, time.Minute)
		if err == nil {
			err = json.Unmarshal(m.Data, into)
		}
		if err != nil {
			r.Fatal(err)
		}
	}
	if len(streams.Streams) < 8 {
		r.Fatalf("%d streams", len(streams.Streams))
	}
	slices.SortFunc(streams.Streams, func(a, b jetstream.StreamInfo) int { return strings.Compare(a.Config.Name, b.Config.Name) })
	for _, s := range streams.Streams {
		fmt.Fprintf(&text, "%s %+v %+v\n", s.Config.Name, s.State, s.Config.Subjects)
	}
	fmt.Fprintf(&text, "queue %+v %d taken, %d wait\n", queue.AckFloor, queue.NumAckPending, queue.NumPending)
	return text.String()
}

// listener is a subscription of a user.
type listener struct {
	nc  *nats.Conn
	sub *nats.Subscription
}

// overhears subscribes as each user of a tenant to everything that it may.
func overhears(t *testing.T, g *governed) map[string]listener {
	t.Helper()
	all := map[string]listener{}
	for name, u := range g.Users {
		nc, _ := g.Connect(t, name)
		_, subjects := u.Permissions(g.plan)
		for _, subject := range append(subjects, ">", "GLOBEX_PARLEY.>", "$SYS.>", "$JS.>", "_R_.>") {
			if u.Role != topology.Admin || subject == ">" { // one is enough
				sub, err := nc.SubscribeSync(subject)
				if err != nil {
					t.Fatal(err)
				}
				all[name+" on "+subject] = listener{nc, sub}
			}
		}
		if err := nc.FlushTimeout(time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// received returns what a subscription has received; what the server sent to its
// connection before is there. Sources of a stream, the server's own consumers, are
// left out.
func received(t *testing.T, l listener) []*nats.Msg {
	t.Helper()
	if err := l.nc.FlushTimeout(time.Minute); err != nil {
		t.Fatal(err)
	}
	var all []*nats.Msg
	for {
		n, _, err := l.sub.Pending()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return all
		}
		m, err := l.sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(m.Subject, "$JS.S.") && !strings.Contains(string(m.Data), "JS_SRC_") {
			all = append(all, m)
		}
	}
}

// TestATenantCannotReachAnother: every user of a tenant, also its administrator,
// against the subjects, the streams, the queues and the imports of another one.
func TestATenantCannotReachAnother(t *testing.T) {
	t.Parallel()
	r := newRivals(t)
	before := r.holds()
	heard := overhears(t, r.victim)
	for _, user := range slices.Sorted(maps.Keys(r.from.Users)) {
		t.Run(user, func(t *testing.T) {
			nc, _ := r.from.Connect(t, user)
			admin, _ := r.from.Connect(t, "admin")
			a := &attacker{governed: r.from, T: t, user: user, nc: nc, admin: admin, honest: r.conversation}
			a.writesTo(r)
			a.asksFor()
			if user == "admin" {
				a.makesStreams(r)
			}
			a.sync()
		})
	}
	for what, sub := range heard {
		for _, m := range received(t, sub) {
			t.Errorf("%s of the other tenant receives %s: %.200s", what, m.Subject, m.Data)
		}
	}
	if after := r.holds(); after != before {
		t.Errorf("the streams of the other tenant held\n%s and now\n%s", before, after)
	}
}

// writesTo: every subject of the victim directly, and as the reply of every request
// that the user may make.
func (a *attacker) writesTo(r *rivals) {
	a.Helper()
	subjects := []string{r.job.Reply, "read.HISTORY.all", "queue.tool_clock", "_INBOX_admin.x", "_INBOX_app.x", "GLOBEX_PARLEY.conv.0." + r.conversation + ".in"}
	at := fmt.Sprintf("%d.%s.", topology.ShardOf(r.conversation, 2), r.conversation)
	for _, log := range []string{"conv.", "history.", "live.", "timer."} {
		for _, channel := range []string{"in", "turn", "gen"} {
			subjects = append(subjects, log+at+channel)
		}
	}
	subjects = append(subjects, slices.Sorted(maps.Values(targets()))...)
	for _, subject := range subjects {
		for _, body := range []string{"+TERM", `{"type":"Forged"}`} {
			a.denied(&nats.Msg{Subject: subject, Data: []byte(body)})
		}
	}
	publish, _ := a.Users[a.user].Permissions(a.plan)
	if a.user == "admin" {
		for _, api := range []string{"INFO", "STREAM.MSG.GET.CONV_0", "STREAM.MSG.GET.HISTORY", "DIRECT.GET.CONV_0", "CONSUMER.MSG.NEXT.JOBS.tool_clock", "STREAM.LIST"} {
			publish = append(publish, topology.API+api)
		}
	}
	for _, pattern := range publish {
		request := strings.NewReplacer("*", r.conversation, ">", r.conversation).Replace(pattern)
		for _, reply := range subjects {
			if err := a.nc.PublishRequest(request, reply, []byte(`{"last_by_subj":"conv.*.*.in","batch":1,"expires":50000000}`)); err != nil {
				a.Fatal(err)
			}
		}
	}
	a.row(fmt.Sprintf("publish to %d subjects, and as replies of %d requests", len(subjects), len(publish)), "see the streams", false)
}

// asksFor: JetStream and the server, by every name of the other tenant.
func (a *attacker) asksFor() {
	a.Helper()
	for _, subject := range []string{
		"$JS.GLOBEX_PARLEY.API.INFO", "$JS.globex.API.STREAM.LIST", "GLOBEX_PARLEY.$JS.API.STREAM.LIST", "GLOBEX_PARLEY.PARLEY.API.STREAM.INFO.HISTORY",
		"$JS.API.ACCOUNT.PURGE.GLOBEX_PARLEY", "$JS.API.ACCOUNT.STREAM.MOVE.GLOBEX_PARLEY.CONV_0", "$JS.API.SERVER.REMOVE", "$JS.API.META.LEADER.STEPDOWN",
		"$SYS.REQ.ACCOUNT.GLOBEX_PARLEY.INFO", "$SYS.REQ.ACCOUNT.GLOBEX_PARLEY.JSZ", "$SYS.REQ.ACCOUNT.GLOBEX_PARLEY.CONNZ", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.STATZ",
		"$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.SERVER.PING.ACCOUNTZ", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.PING", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.USER.INFO",
	} {
		said, ok := a.answered(subject, `{"account":"GLOBEX_PARLEY","acc":"GLOBEX_PARLEY","accounts":["GLOBEX_PARLEY"]}`, 300*time.Millisecond)
		reached := ok && (strings.Contains(said, "GLOBEX") || strings.Contains(said, "globex") || strings.Contains(said, `"success":true`))
		if ok && !reached {
			said = "about its own account, or an error"
		}
		a.row("ask "+subject, said, reached)
	}
}

// makesStreams: an administrator may make streams, with sources, destinations and
// consumers that name subjects of the other tenant.
func (a *attacker) makesStreams(r *rivals) {
	a.Helper()
	live := fmt.Sprintf("live.%d.%s.turn", topology.ShardOf(r.conversation, 2), r.conversation)
	for i, api := range []string{"$JS.GLOBEX_PARLEY.API", "$JS.globex.API", "GLOBEX_PARLEY.$JS.API"} {
		for how, body := range map[string]string{
			"a source": `{"name":%q,"sources":[{"name":"HISTORY","external":{"api":%q,"deliver":"spy"}}]}`,
			"a mirror": `{"name":%q,"mirror":{"name":"HISTORY","external":{"api":%q,"deliver":"spy"}}}`,
		} {
			name := fmt.Sprintf("SPY_%d_%s", i, how[2:])
			_, ok := a.answered(topology.API+"STREAM.CREATE."+name, fmt.Sprintf(body, name, api), time.Minute)
			a.sync()
			info, _ := a.answered(topology.API+"STREAM.INFO."+name, "", time.Minute)
			a.row("make a stream with "+how+" at "+api, "is refused, or holds nothing", !ok || !strings.Contains(info, `"error"`) && !strings.Contains(info, `"messages":0`))
		}
	}
	said, ok := a.answered(topology.API+"STREAM.CREATE.LOUD", fmt.Sprintf(`{"name":"LOUD","subjects":["loud"],"republish":{"src":"loud","dest":%q}}`, live), time.Minute)
	a.row("make a stream that republishes to "+live, "in its own account", !ok || strings.Contains(said, `"error"`))
	a.answered("loud", "forged", time.Minute)
	push := fmt.Sprintf(`{"stream_name":"LOUD","config":{"name":"push","ack_policy":"none","deliver_policy":"all","deliver_subject":%q}}`, live)
	if _, err := a.nc.SubscribeSync(live); err != nil {
		a.Fatal(err)
	}
	said, ok = a.answered(topology.API+"CONSUMER.CREATE.LOUD.push", push, time.Minute)
	a.row("make a consumer that delivers to "+live, "in its own account", !ok || strings.Contains(said, `"error"`))
	a.answered("loud", "forged", time.Minute)
}

// TestATenantHearsNothingOfAnother: what the other one says, with every subscription
// that the server accepts.
func TestATenantHearsNothingOfAnother(t *testing.T) {
	t.Parallel()
	r := newRivals(t)
	spies := overhears(t, r.from)
	witness, err := r.admin.SubscribeSync(topology.Everything(topology.Live, 2, r.conversation))
	if err == nil {
		err = r.admin.FlushTimeout(time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
	send(t, r.victim.as("app"), r.conversation, "a secret")
	decide(t, r.victim.as("orchestrator"), r.conversation, 2, "o")
	for range 2 {
		if _, err := witness.NextMsg(time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	send(t, r.from.as("app"), r.conversation, "its own")
	var own int
	for what, sub := range spies {
		for _, m := range received(t, sub) {
			if strings.Contains(string(m.Data), "a secret") || strings.Contains(string(m.Data), "Decision") || strings.Contains(m.Subject, "GLOBEX") {
				t.Errorf("%s receives %s: %.200s", what, m.Subject, m.Data)
			}
			own++
		}
	}
	if own == 0 {
		t.Error("nobody hears what its own tenant says")
	}
}

// TestForgedImportsAreRefused: a tenant's file that imports what another exports is
// no configuration; nor are the keys of another tenant.
func TestForgedImportsAreRefused(t *testing.T) {
	t.Parallel()
	shared := brokertest.StartShared(t)
	shared.Tenant(tenant("acme"))
	victim := shared.Tenant(tenant("globex"))
	path := shared.Config("acme")
	honest, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	refused := func(addition, why string) {
		t.Helper()
		tries++
		if err := os.WriteFile(path, append(slices.Clone(honest), addition...), 0o600); err != nil {
			t.Fatal(err)
		}
		opts, err := natsserver.ProcessConfigFile(shared.Config("nats"))
		if err == nil {
			opts.NoLog, opts.NoSigs = true, true
			_, err = natsserver.NewServer(opts)
		}
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", addition, err)
		}
	}
	for _, u := range victim.Users {
		for _, g := range topology.Grants(u.Role, topology.Plan{Shards: 2}, u.Scope) {
			kind, account := "service", "GLOBEX_PARLEY"
			switch g.Kind {
			case topology.Subscribe:
				kind = "stream"
			case topology.Answer:
				account = strings.ToUpper("globex_" + u.Name)
			}
			refused(fmt.Sprintf("\nACME_ROGUE { imports: [ { %s: { account: %s, subject: %q } } ] }\n", kind, account, g.Subject), "not authorized")
		}
	}
	key, err := victim.Keys.Key("app")
	if err != nil {
		t.Fatal(err)
	}
	refused(fmt.Sprintf("\nACME_ROGUE { users: [ { nkey: %s } ] }\n", key), "Duplicate nkey")
	if tries < 80 {
		t.Errorf("%d imports were tried", tries)
	}
	if err := os.WriteFile(path, honest, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := natsserver.ProcessConfigFile(shared.Config("nats")); err != nil {
		t.Errorf("the honest files: %v", err)
	}
}
